"""`python -m einchip.schemas`: write the schemas that are committed."""

from einchip import schemas
from einchip.files import write_text
from einchip.schemas import make

for name in schemas.NAMES:
    write_text(schemas.path(name), make.text(name))
