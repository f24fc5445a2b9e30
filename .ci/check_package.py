"""Check what is in the sdist and the wheel: `check_package.py DIST CLONE [--tag TAG]`.

DIST holds both, the wheel being built from the sdist; CLONE holds a wheel that was built from the
clone.
"""

import argparse
import email.message
import email.parser
import pathlib
import platform
import re
import tarfile
import tomllib
import zipfile

ROOT = pathlib.Path(__file__).parents[1]
IN_SDIST = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", ".gitignore"}
IN_SDIST |= {"milvus_tools", "graphs", "examples", "tests"}


def main() -> None:
    """Check all, or raise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=pathlib.Path)
    parser.add_argument("clone", type=pathlib.Path)
    parser.add_argument("--tag")
    options = parser.parse_args()
    (sdist,), (wheel,) = options.dist.glob("*.tar.gz"), options.dist.glob("*.whl")
    (from_clone,) = options.clone.glob("*.whl")
    files = wheel_files(wheel)
    require_same(files, wheel_files(from_clone))
    require_wheel(files)
    require_sdist(sdist_files(sdist))
    require_no_place(files | sdist_files(sdist))
    (name,) = [one for one in files if one.endswith(".dist-info/METADATA")]
    metadata = email.parser.BytesParser().parsebytes(files[name])
    require_bounds(metadata)
    require_links(str(metadata.get_payload()))
    require_version(str(metadata["Version"]), options.tag)


def wheel_files(path: pathlib.Path) -> dict[str, bytes]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sdist_files(path: pathlib.Path) -> dict[str, bytes]:
    """Return the files of an sdist, by their paths inside its folder."""
    files = {}
    with tarfile.open(path) as archive:
        for member in archive:
            opened = archive.extractfile(member)
            assert opened is not None, f"{member.name} is no plain file."
            files[member.name.partition("/")[2]] = opened.read()
    return files


def require_same(left: dict[str, bytes], right: dict[str, bytes]) -> None:
    """Demand that the sdist builds the wheel that the clone builds."""
    different = {name for name in left | right if left.get(name) != right.get(name)}
    assert not different, f"The sdist builds other files than the clone: {sorted(different)}."


def require_wheel(files: dict[str, bytes]) -> None:
    """Demand that the wheel has the package as it stands in the clone, and nothing else."""
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "milvus_tools").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    own = {name for name in files if not name.partition("/")[0].endswith(".dist-info")}
    assert own == package, f"The wheel has other files: {sorted(own ^ package)}."
    assert "milvus_tools/py.typed" in own, "The wheel has no py.typed."
    licences = [name for name in files if name.endswith("licenses/LICENSE")]
    assert len(licences) == 1, "The wheel has no licence."


def require_sdist(files: dict[str, bytes]) -> None:
    """Demand that the sdist has what its users need, and no other file or folder."""
    top = {name.partition("/")[0] for name in files}
    assert top == IN_SDIST, f"The sdist differs: {sorted(top ^ IN_SDIST)}."
    made = [name for name in files if re.search(r"__pycache__|\.(pyc|db|env)$", name)]
    assert not made, f"The sdist has what git leaves out: {made}."


def require_no_place(files: dict[str, bytes]) -> None:
    """Demand that no file names this machine, its user, or a path on it."""
    places = {str(ROOT), platform.node(), str(pathlib.Path.home())}
    long = [one.encode() for one in places if len(one) > len("localhost")]  # others are words, too
    for name, content in files.items():
        found = [place for place in long if place in content]
        assert not found, f"{name} names {found}."


def require_bounds(metadata: email.message.Message) -> None:
    """Demand that no requirement admits a version that may break it."""
    required = metadata.get_all("Requires-Dist") or []
    open_ = [one for one in required if "<" not in one and not one.startswith("milvus-tools[")]
    assert required, "The wheel requires nothing."
    assert not open_, f"Without an upper bound: {open_}."


def require_links(readme: str) -> None:
    """Demand that an index, which has the README alone, shows no link to another file."""
    assert readme.startswith("# milvus_tools"), "The wheel has no README."
    relative = re.findall(r"\]\((?!https?://|#)[^)]*\)", readme)
    assert not relative, f"Links that lead nowhere on an index: {relative}."


def require_version(version: str, tag: str | None) -> None:
    """Demand that a tag, the version and the changelog agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert version == project["version"], f"The wheel says {version}."
    if tag is None:
        return
    assert tag == f"v{version}", f"The tag {tag} is not v{version}."
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(r"^## \[([^\]]+)\](?: - \d{4}-\d\d-\d\d)?$", text, re.MULTILINE)
    assert heading is not None, "The changelog has no heading."
    assert heading[1] == version, f"The changelog begins with {heading[1]}, not {version}."


if __name__ == "__main__":
    main()
