"""The config.json of a model on the hub: what transformers or `hf download` left on this machine, or, only when asked, the file itself."""

from __future__ import annotations

import json
import os
import re

from estimators import own_cache
from estimators.errors import UnavailableError

HUB = "https://huggingface.co"
MAX_CONFIG_BYTES = 8 * 2**20
TIMEOUT_S = 10.0
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?=[^/])", re.IGNORECASE)


def hub_name(text: str) -> str:
    """The name of a model without the blanks around it, and without the hub's address where that was copied.

    >>> hub_name("https://huggingface.co/Qwen/Qwen2.5-7B/tree/main"), hub_name(" hf.co/Qwen/Qwen2.5-7B "), hub_name("gpt2")
    ('Qwen/Qwen2.5-7B', 'Qwen/Qwen2.5-7B', 'gpt2')
    """
    text = text.strip()
    found = ADDRESS.match(text)
    return "/".join(re.split(r"[/?#]", text[found.end() :])[:2]) if found else text


def is_repository(name: str) -> bool:
    """Whether a text may name a model of the hub.

    >>> is_repository("meta-llama/Llama-3.1-8B"), is_repository("../secrets"), is_repository("gpt2")
    (True, False, False)
    """
    return REPOSITORY.fullmatch(name) is not None and ".." not in name


def cache_folder() -> str:
    """Where huggingface_hub keeps what it downloads: HF_HUB_CACHE, else HF_HOME, else the user's cache.

    Source: huggingface_hub, environment variables (https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables).
    """
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return os.path.expanduser(folder)
    home = os.environ.get("HF_HOME") or os.path.join(own_cache.user_cache(), "huggingface")
    return os.path.join(os.path.expanduser(home), "hub")


def _own_folder() -> str:
    """Where fetched files are kept."""
    return own_cache.folder("configs")


def cached_config(name: str) -> str | None:
    """Path of a model's config.json on this machine, or None: that of its main branch, else of the newest snapshot.

    Args:
        name: such as ``Qwen/Qwen2.5-7B``, upper or lower case.
    """
    folder = _folder_of(cache_folder(), name)
    if folder is not None:
        snapshots = os.path.join(folder, "snapshots")
        for revision in (_main_revision(folder), *_newest_first(snapshots)):
            if revision and os.path.isfile(path := os.path.join(snapshots, revision, "config.json")):
                return path
    own = _folder_of(_own_folder(), name)
    fetched = os.path.join(own, "config.json") if own else ""
    return fetched if os.path.isfile(fetched) else None


def name_of(path: str) -> str | None:
    """The name on the hub of a file in one of the two caches, or None for any other file.

    >>> name_of("/home/me/.cache/huggingface/hub/models--Qwen--Qwen2.5-7B/snapshots/0a1b/config.json")
    'Qwen/Qwen2.5-7B'
    """
    found = re.search(r"models--([\w.-]+?)--([\w.-]+)[/\\](?:snapshots[/\\]\w+[/\\])?config\.json$", path)
    return f"{found[1]}/{found[2]}" if found else None


def _folder_of(root: str, name: str) -> str | None:
    wanted = f"models--{name.replace('/', '--')}".casefold()
    try:
        return next((os.path.join(root, entry) for entry in sorted(os.listdir(root)) if entry.casefold() == wanted), None)
    except OSError:
        return None


def _main_revision(folder: str) -> str:
    try:
        with open(os.path.join(folder, "refs", "main"), encoding="utf-8") as stream:
            revision = stream.read(100).strip()
    except (OSError, ValueError):
        return ""
    return revision if re.fullmatch(r"\w+", revision) else ""


def _newest_first(snapshots: str) -> list[str]:
    try:
        return [entry.name for entry in sorted(os.scandir(snapshots), key=lambda entry: -entry.stat().st_mtime)]
    except OSError:
        return []


def fetch_config(name: str) -> str:
    """Download a model's config.json, nothing else of it, and keep it; the path of the file.

    Raises:
        UnavailableError: no network, no such file, one that is gated, too large or no configuration; one line with what to do.
    """
    import urllib.error  # deferred: only who asks for it pays
    import urllib.request

    hub = os.environ.get("HF_ENDPOINT") or HUB
    url = f"{hub.rstrip('/')}/{name}/resolve/main/config.json"
    other = f"elsewhere: `hf download {name} config.json`, then --config FILE"
    if not url.startswith(("http://", "https://")):
        raise UnavailableError(f"HF_ENDPOINT is {hub[:60]!r}; expected an address that begins with https://")
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "sixnd"}), timeout=TIMEOUT_S) as answer:
            body = answer.read(MAX_CONFIG_BYTES + 1)
    except urllib.error.HTTPError as error:
        why = {401: "it does not exist, or is gated: accept its terms and log in", 403: "it is gated", 404: "no such file"}
        raise UnavailableError(f"cannot fetch {url}: {error.code}, {why.get(error.code, error.reason)}; {other}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UnavailableError(f"cannot fetch {url}: {str(reason)[:120] or type(error).__name__}; is there a network? {other}") from None
    if len(body) > MAX_CONFIG_BYTES:
        raise UnavailableError(f"{url} has more than {MAX_CONFIG_BYTES:,} bytes; expected a model's config.json; {other}")
    try:
        if not isinstance(json.loads(body), dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise UnavailableError(f"{url} is no configuration; {other}") from None
    return _keep(name, body)


def _keep(name: str, body: bytes) -> str:
    folder = os.path.join(_own_folder(), f"models--{name.replace('/', '--')}")
    path = os.path.join(folder, "config.json")
    try:
        own_cache.write(path, body)
    except OSError as error:
        raise UnavailableError(f"cannot keep {path!r}: {error.strerror}; set XDG_CACHE_HOME to a folder that can be written") from None
    return path
