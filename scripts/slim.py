"""Cut an installed stormfold down to what the operator needs to run: `python slim.py VENV`, in place.

- Shared libraries lose what only a debugger or a linker reads.
- Tests, type stubs, C sources and what a wheel brings compiled go; time zones too, since the base has the
  system's.
- Other people's modules are compiled, without docstrings, and their source goes: in a traceback their lines
  have a number and no text. stormfold keeps its source, since descriptions of settings and fields are read
  from it.
"""

import ast
import compileall
import marshal
import shutil
import struct
import sys
from importlib.util import MAGIC_NUMBER
from itertools import chain
from pathlib import Path
from py_compile import PycInvalidationMode

LEFTOVERS = ("tests", "*_test.py", "*.pyi", "*.pyx", "*.pxd", "*.c", "*.h", "__pycache__", "tzdata")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
ELF64 = b"\x7fELF\x02\x01"


def slim(venv: Path) -> None:
    """Do all of it, and say what it brought."""
    (site,) = venv.glob("lib/python3*/site-packages")
    before = bytes_in(site)
    for library in list(site.rglob("*.so*")):
        cut = mapped_part(library.read_bytes())
        library.unlink()
        library.write_bytes(cut)
    for found in list(chain.from_iterable(site.rglob(pattern) for pattern in LEFTOVERS)):
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)
    own = site / "stormfold"
    if not compileall.compile_dir(own, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH):
        sys.exit(f"{own} does not compile")
    for source in list(site.rglob("*.py")):
        if own not in source.parents:
            source.with_suffix(".pyc").write_bytes(compiled(source))
            source.unlink()
    print(f"{site}: {before / 1e6:.1f} MB, slimmed to {bytes_in(site) / 1e6:.1f} MB")


def mapped_part(library: bytes) -> bytes:
    """A shared library as far as its program headers reach, which is all that the loader maps, and no
    sections."""
    if not library.startswith(ELF64):
        return library
    (table,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    ends = [table + size * count]
    for header in range(table, ends[0], size):
        (offset,) = struct.unpack_from("<Q", library, header + 8)
        (length,) = struct.unpack_from("<Q", library, header + 32)
        ends.append(offset + length)
    cut = bytearray(library[: max(ends)])
    struct.pack_into("<Q", cut, 40, 0)
    struct.pack_into("<HH", cut, 60, 0, 0)
    return bytes(cut)


def compiled(source: Path) -> bytes:
    """The content of a .pyc file that stands in for its source; docstrings are empty."""
    tree = ast.parse(source.read_bytes(), source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body[0].value.value = ""
    # The loader looks at no field of the header but the first when there is no source.
    return MAGIC_NUMBER + bytes(12) + marshal.dumps(compile(tree, source, "exec", dont_inherit=True))


def bytes_in(folder: Path) -> int:
    """What the files in a folder come to."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    slim(Path(sys.argv[1]).resolve())
