"""nginx with TLS in front of tusd, and the certificates for it."""

import os
import shutil
import subprocess

from servers import CACHE, Missing, Process, Server, Tusd, TusdBehindProxy, free_port, run_logged

SITE = """
    server {{
        listen 127.0.0.1:{port} ssl{http2};
        ssl_certificate {certificate}.pem;
        ssl_certificate_key {certificate}.key;
        client_max_body_size {limit};
        location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
    }}
"""

CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/log;
{user}
events {{ worker_connections 256; }}
http {{
    log_format spoken '$request_method $server_protocol';
    access_log {folder}/access spoken;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    {sites}
}}
"""


def find_nginx():
    on_path = shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    unpacked = CACHE / "nginx" / "usr" / "sbin" / "nginx"
    return on_path or (unpacked if unpacked.exists() else None)


def install():
    """From Debian's package, unpacked rather than installed: nothing is started, no root is needed."""
    for command in ("apt-get", "openssl"):
        if not find_nginx() and shutil.which(command) is None:
            raise Missing(f"nginx is not installed and there is no {command}")
    if find_nginx():
        return
    folder = CACHE / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        run_logged("fetching nginx", ["apt-get", "download", "nginx"], cwd=folder)
    except Missing:
        run_logged("apt-get update", ["apt-get", "update"])
        run_logged("fetching nginx", ["apt-get", "download", "nginx"], cwd=folder)
    run_logged("unpacking nginx", ["dpkg-deb", "-x", *folder.glob("*.deb"), folder])
    run_logged("trying nginx", [find_nginx(), "-v"])


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_certificates(folder):
    """`ca.pem`; `signed` by it and `self`, both for 127.0.0.1 and localhost."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256")
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    openssl(folder, "req", "-x509", *key, "-days", "2", "-subj", "/CN=tus-proto interop CA",
            "-addext", "keyUsage=critical,keyCertSign", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    openssl(folder, "req", *key, "-subj", "/CN=localhost", "-keyout", "signed.key", "-out", "signed.csr")
    (folder / "signed.ext").write_text(f"{names}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n")
    openssl(folder, "x509", "-req", "-in", "signed.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-sha256", "-extfile", "signed.ext", "-out", "signed.pem")  # fmt: skip
    openssl(folder, "req", "-x509", *key, "-days", "2", "-subj", "/CN=localhost",
            "-addext", names, "-keyout", "self.key", "-out", "self.pem")  # fmt: skip


class TlsTusd(Process):
    """nginx with five sites, two tusds behind it. `endpoints` has the URL of each site."""

    name = "nginx + tusd"

    @staticmethod
    def install():
        Tusd.install()
        install()

    def __init__(self, directory):
        super().__init__(directory)
        make_certificates(self.directory)
        self.ca = self.directory / "ca.pem"
        self.tusd = TusdBehindProxy(self.directory / "behind-proxy")
        self.unaware = Tusd(self.directory / "unaware")
        self.endpoints = {}

    def start(self):
        self.tusd.start()
        self.unaware.start()
        return super().start()

    def command(self):
        sites = {
            "trusted": ("signed", 0, self.tusd),
            "self-signed": ("self", 0, self.tusd),
            # This tusd does not know of the TLS in front: its Locations say http.
            "http-location": ("signed", 0, self.unaware),
            "limited": ("signed", "4m", self.tusd),
            "http2": ("signed", 0, self.tusd),
        }
        text = ""
        for site, (certificate, limit, tusd) in sites.items():
            port = self.port if site == "trusted" else free_port()
            path = self.directory / certificate
            http2 = " http2" if site == "http2" else ""
            text += SITE.format(port=port, http2=http2, certificate=path, limit=limit, upstream=tusd.port)
            self.endpoints[site] = f"https://127.0.0.1:{port}/files/"
        # Its workers would otherwise run as www-data, which cannot write here.
        user = "user root;" if os.geteuid() == 0 else ""
        config = self.directory / "nginx.conf"
        config.write_text(CONFIG.format(folder=self.directory, user=user, sites=text))
        return [find_nginx(), "-p", self.directory, "-e", self.log, "-c", config]

    def kill(self):
        # With SIGKILL nginx would leave its workers behind.
        self.stop()

    def close(self):
        super().close()
        self.tusd.close()
        self.unaware.close()

    # What cases ask of a server.

    @property
    def endpoint(self):
        return self.endpoints["trusted"]

    def content(self, url):
        aware = self.tusd.content(url)
        return aware if aware.exists() else self.unaware.content(url)

    def ids(self):
        return self.tusd.ids() + self.unaware.ids()

    def records(self):
        return [*self.tusd.records(), *self.unaware.records()]

    def protocols(self, method):
        """What was spoken, going by nginx's log."""
        lines = (self.directory / "access").read_text().splitlines()
        return {line.split()[1] for line in lines if line.startswith(f"{method} ")}

    partials = Server.partials
    finals = Server.finals

    def requests(self, method):
        return self.tusd.requests(method) + self.unaware.requests(method)
