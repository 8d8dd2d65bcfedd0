"""Kamailio in front of the gateway: a carrier's registrar, and an edge that speaks TLS and records its route.

Debian's packages kamailio and kamailio-tls-modules. One process tree a test, on loopback alone.
"""

from __future__ import annotations

from pathlib import Path

from tests.e2e.kamailio import KamailioProcess
from tests.e2e.sipp import free_port

_CONFIG = """\
debug=2
log_stderror=yes
children=1
tcp_children=2
auto_aliases=no
enable_tls=yes
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
listen=tls:{host}:{tls_port}
tcp_connection_lifetime=300
loadmodule "kex.so"
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "auth.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "tls.so"
modparam("tls", "config", "{directory}/tls.cfg")
modparam("rr", "enable_full_lr", 1)
modparam("rr", "enable_double_rr", 1)
modparam("registrar", "min_expires", 30)
modparam("registrar", "max_expires", {granted})
request_route {{
    mf_process_maxfwd_header("10");
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK") && t_check_trans()) t_relay();
        exit;
    }}
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{host}", "{password}", "0")) {{ www_challenge("{host}", "1"); exit; }}
        save("location");
        exit;
    }}
    {challenge}
    record_route();
    if ("{target}" != "") {{
        $du = "{target}";
    }} else {{
        $ru = "sip:{user}@{host}";
        if (!lookup("location")) {{ sl_send_reply("480", "Not Registered"); exit; }}
    }}
    t_relay();
}}
"""

_CHALLENGE = """\
if (!pv_proxy_authenticate("{host}", "{password}", "0")) {{ proxy_challenge("{host}", "1"); exit; }}
    consume_credentials();
"""

_TLS = """\
[server:default]
method = TLSv1.2+
certificate = {certificate}
private_key = {certificate}
ca_list = {authority}
[client:default]
method = TLSv1.2+
certificate = {certificate}
private_key = {certificate}
ca_list = {authority}
verify_certificate = yes
require_certificate = yes
"""


class SecureKamailio(KamailioProcess):
    """A running Kamailio.

    Args:
        certificate: in one file with its key; authority: whom it believes.
        target: where calls go, a URI with its transport; empty sends them to who has registered.
        user, password: of the only account.
        granted: seconds that a registration lasts at most.
        challenges: whether calls are asked for user and password (407), each time with a nonce of its own.

    """

    def __init__(
        self,
        directory: Path,
        certificate: Path,
        authority: Path,
        *,
        target: str = "",
        user: str = "office",
        password: str = "secret",
        granted: int = 60,
        challenges: bool = False,
    ) -> None:
        self.host = "127.0.0.1"
        self.port, self.tls_port = free_port(self.host), free_port(self.host)
        directory.mkdir()
        (directory / "tls.cfg").write_text(_TLS.format(certificate=certificate, authority=authority))
        config = directory / "kamailio.cfg"
        config.write_text(
            _CONFIG.format(
                host=self.host,
                port=self.port,
                tls_port=self.tls_port,
                directory=directory,
                target=target,
                user=user,
                password=password,
                granted=granted,
                challenge=_CHALLENGE.format(host=self.host, password=password) if challenges else "",
            )
        )
        super().__init__(config, (self.host, self.port))
