"""The two nginx processes."""

from switchgear.bench import floor


def test_the_version_is_read_from_what_nginx_prints() -> None:
    assert floor.parse_version("nginx version: nginx/1.22.1\n") == "1.22.1"
    assert floor.parse_version("nginx version: nginx/1.26.0 (Ubuntu)\n") == "1.26.0"
