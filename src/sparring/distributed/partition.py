"""Graphs larger than memory: labels become ids, and facts the parts of virtual workers, on disk.

DuckDB (extra `duckdb`) sorts and joins under a limit of memory. A partitioned graph is a folder:

- `entities.parquet`, `relations.parquet`: id and name. Ids of entities follow a hash of the name.
- `queries/worker=<v>/*.parquet`: (anchor, relation, answer) of the training queries of a worker.
- `queries/<v>.npy`: the same as 32-bit integers, to be mapped into memory.
- `valid.npy`, `test.npy`: triples; `degree.npy`: training triples of each entity.
- `partition.json`: sizes, written last; without it the folder is not complete."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from sparring.data.diagnostics import GraphError
from sparring.data.formats import import_reader
from sparring.data.graph import KnowledgeGraph
from sparring.data.vocabulary import Vocabulary
from sparring.distributed.facts import Facts, QueryIndex, own_queries
from sparring.distributed.layout import GOLDEN, HASH_BITS, Layout
from sparring.files import read_object, write_object

INDEX = "partition.json"
SPLITS = ("train", "valid", "test")
SUFFIXES = (".tsv", ".txt", ".csv", ".parquet", ".tsv.gz", ".txt.gz", ".csv.gz", ".tsv.zst")
NAMES = ("head", "relation", "tail")
HELD_OUT = "md5_number_lower(h || chr(9) || r || chr(9) || t) % 1000000"  # of a million


@dataclass(frozen=True)
class Partition:
    """A partitioned graph on disk.

    Attributes:
        name: of the graph.
        num_entities, num_relations: N and R.
        workers: V.
        sizes: number of training queries of each virtual worker, two for each triple.
    """

    folder: Path
    name: str
    num_entities: int
    num_relations: int
    workers: int
    sizes: list[int]

    @classmethod
    def open(cls, folder: Path) -> "Partition":
        """The graph that `partition` has written.

        Raises:
            GraphError: if there is none, or its index is damaged.
        """
        try:
            return cls(folder, **read_object(folder / INDEX))
        except FileNotFoundError:
            raise GraphError(f"{folder} holds no partitioned graph: it has no {INDEX}") from None
        except (ValueError, TypeError) as error:
            raise GraphError(f"{folder / INDEX} is damaged: {error}") from None

    def layout(self) -> Layout:
        """Who owns what."""
        return Layout(self.num_entities, self.num_relations, self.workers)

    def facts(self) -> Facts:
        """The training facts of this rank; their rows stay in the files until they are read."""
        layout = self.layout()
        own = [_mapped(self.folder / "queries" / f"{worker}.npy") for worker in layout.own]
        queries = own[0] if len(own) == 1 else torch.cat(own)
        degree = _mapped(self.folder / "degree.npy")
        sizes = [self.sizes[worker] for worker in layout.own]
        return Facts(layout, queries, sizes, sum(self.sizes), degree)

    def known(self, facts: Facts, triples: Int[Tensor, "T 3"]) -> QueryIndex:
        """Known answers of this rank's queries: its training facts, and more triples."""
        more, _ = own_queries(triples, facts.layout)
        every = torch.cat([facts.queries, more.int()])
        return QueryIndex(every, self.num_entities, self.num_relations)

    def graph(self) -> KnowledgeGraph:
        """The whole graph in memory."""
        names = [
            pl.read_parquet(self.folder / f"{kind}.parquet")["name"]
            for kind in ("entities", "relations")
        ]
        tails = []
        for worker in range(self.workers):
            queries = _mapped(self.folder / "queries" / f"{worker}.npy")
            tails.append(queries[queries[:, 1] < self.num_relations].long())
        return KnowledgeGraph(
            self.name,
            Vocabulary(names[0], kind="entity"),
            Vocabulary(names[1], kind="relation"),
            torch.cat(tails),
            self.triples("valid"),
            self.triples("test"),
        )

    def triples(self, split: str) -> Int[Tensor, "T 3"]:
        """The triples of "valid" or "test"."""
        return _mapped(self.folder / f"{split}.npy").long()


def exists(folder: Path) -> bool:
    """Whether a folder holds a partitioned graph."""
    return (folder / INDEX).is_file()


def partition(
    source: Path,
    folder: Path,
    *,
    workers: int = 64,
    memory: str = "3GB",
    threads: int = 1,
    valid: float = 0.001,
    test: float = 0.001,
) -> Partition:
    """Write a graph as parts of virtual workers, in bounded memory.

    Args:
        source: a file of triples, or a folder with train, perhaps valid and test: text with head,
            relation and tail in its first columns and no header, or Parquet. Names may be words or
            integers.
        folder: where the parts go; must not exist.
        workers: V.
        memory: limit of DuckDB, such as "3GB".
        threads: of DuckDB; more need more memory.
        valid, test: shares of a single file that are held out, chosen by a hash of each triple.

    Raises:
        GraphError: if something cannot be read, or there are no triples.
        MissingExtraError: without DuckDB.
    """
    if folder.exists():
        raise GraphError(f"{folder} exists already; name another folder, or delete it first")
    duckdb = import_reader("duckdb", source, "duckdb")
    facts = _facts(source, valid, test)
    folder.mkdir(parents=True)
    work = folder / "work"
    work.mkdir()
    try:
        database = duckdb.connect(str(work / "graph.duckdb"))
        for option, value in (
            ("memory_limit", f"'{memory}'"),
            ("threads", threads),
            ("temp_directory", f"'{work}'"),
            ("preserve_insertion_order", "false"),
            ("enable_progress_bar", "false"),
        ):
            database.execute(f"set {option} = {value}")
        sizes = _write(database, facts, folder, workers)
        database.close()
    except duckdb.Error as error:
        shutil.rmtree(folder)
        raise GraphError(f"{source}: {str(error).partition(chr(10))[0]}") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(work)
    name = source.name.partition(".")[0]
    made = Partition(folder, name, sizes["entities"], sizes["relations"], workers, sizes["parts"])
    body = asdict(made)
    del body["folder"]
    write_object(folder / INDEX, body)
    return made


def _facts(source: Path, valid: float, test: float) -> str:
    """A query for the distinct triples h, r, t of all splits; train wins over valid over test."""
    if source.is_dir():
        files = {split: _file(source, split) for split in SPLITS}
        if files["train"] is None:
            raise GraphError(f"{source} has no file of training triples, such as train.tsv")
        parts = [
            f"select *, {number} as split from {_reader(file)}"
            for number, file in enumerate(files.values())
            if file is not None
        ]
        return " union all ".join(parts)
    if not source.exists():
        raise GraphError(f"there is no file {source}")
    if not (valid >= 0 and test >= 0 and valid + test < 1):
        raise GraphError(f"shares add up to less than 1; got valid={valid}, test={test}")
    limits = int(valid * 1e6), int((valid + test) * 1e6)
    first, second = (f"when {HELD_OUT} < {limit} then {n}" for n, limit in enumerate(limits, 1))
    return f"select *, case {first} {second} else 0 end as split from {_reader(source)}"


def _file(folder: Path, split: str) -> Path | None:
    found = [folder / f"{split}{suffix}" for suffix in SUFFIXES]
    return next((path for path in found if path.exists()), None)


def _reader(path: Path) -> str:
    """A subquery with the columns h, r and t, as text."""
    quoted = str(path).replace("'", "''")
    if path.suffix == ".parquet":
        columns = pl.read_parquet_schema(path)
        chosen = NAMES if set(NAMES) <= set(columns) else list(columns)[:3]
        if len(chosen) < 3:
            raise GraphError(f"{path} has {len(columns)} columns; a triple needs three")
        named = [f'"{name}"::varchar as {short}' for name, short in zip(chosen, "hrt")]
        return f"(select {', '.join(named)} from read_parquet('{quoted}'))"
    comma = ".csv" in path.suffixes
    separator, quote = (",", '"') if comma else ("\\t", "")
    options = f"delim = '{separator}', quote = '{quote}', escape = '{quote}', header = false"
    columns = "columns = {'h': 'varchar', 'r': 'varchar', 't': 'varchar'}"
    return f"read_csv('{quoted}', {options}, auto_detect = false, {columns})"


def _write(database: Any, facts: str, folder: Path, workers: int) -> dict[str, Any]:
    """Write all files but the index; gives the sizes."""
    run = database.execute
    one = lambda query: run(query).fetchone()[0]
    run(f"create view facts as {facts}")
    run(
        "create table entities as select (row_number() over (order by md5_number_lower(name), "
        "name) - 1)::integer as id, name from (select h as name from facts union select t from "
        "facts)"
    )
    run(
        "create table relations as select (row_number() over (order by name) - 1)::integer as id, "
        "name from (select distinct r as name from facts)"
    )
    tables = ("entities", "relations")
    entities, relations = (one(f"select count(*) from {table}") for table in tables)
    if not entities:
        raise GraphError("there are no triples")
    if entities < workers:
        raise GraphError(f"{entities} entities are too few for {workers} virtual workers")
    run(
        "create table ids as select a.id as h, b.id as r, c.id as t, min(split) as split "
        "from facts join entities a on a.name = h join relations b on b.name = r "
        "join entities c on c.name = t group by all"
    )
    for table in tables:
        run(
            f"copy (select id, name from {table} order by id) to '{folder / table}.parquet' "
            "(format parquet)"
        )
    key = f"(anchor::hugeint * {2 * relations} + relation)"
    hashed = f"({key} * {GOLDEN % 2**64} % {2**64} // {2 ** (64 - HASH_BITS)}) % {workers}"
    both = (
        "select h as anchor, r as relation, t as answer from ids where split = 0 union all "
        f"select t, r + {relations}, h from ids where split = 0"
    )
    run(
        f"copy (select anchor, relation, answer, ({hashed})::integer as worker from ({both}) "
        f"order by worker, anchor, relation, answer) to '{folder / 'queries'}' "
        "(format parquet, partition_by (worker))"
    )
    for number, split in enumerate(SPLITS[1:], 1):
        _save(run(f"select h, r, t from ids where split = {number}"), folder / f"{split}.npy")
    _save_degree(database, folder / "degree.npy", entities)
    parts = [_save_worker(folder / "queries", worker) for worker in range(workers)]
    return {"entities": entities, "relations": relations, "parts": parts}


def _save(result: Any, path: Path) -> None:
    columns = list(result.fetchnumpy().values())
    np.save(path, np.stack(columns, 1).astype(np.int32))


def _save_degree(database: Any, path: Path, entities: int) -> None:
    """Write how many training triples mention each entity."""
    degree = np.zeros(entities, dtype=np.float32)
    for end in ("h", "t"):
        counted = database.execute(
            f"select {end} as id, count(*) as number from ids where split = 0 group by {end}"
        ).fetchnumpy()
        degree[counted["id"]] += counted["number"]
    np.save(path, degree)


def _save_worker(folder: Path, worker: int) -> int:
    """Write the queries of a worker as integers, in order; gives their number."""
    place = folder / f"worker={worker}"
    rows = np.zeros((0, 3), dtype=np.int32)
    if place.exists():
        frame = pl.read_parquet(place / "*.parquet", hive_partitioning=False)
        frame = frame.select("anchor", "relation", "answer").sort("anchor", "relation", "answer")
        rows = frame.cast(pl.Int32).to_numpy()
    np.save(folder / f"{worker}.npy", np.ascontiguousarray(rows))
    return len(rows)


def _mapped(path: Path) -> Tensor:
    """An array whose pages are read when they are needed; it must not be written to."""
    try:
        return torch.from_numpy(np.load(path, mmap_mode="c"))
    except FileNotFoundError:
        raise GraphError(f"{path} is missing; partition the graph again") from None
    except ValueError as error:
        raise GraphError(f"{path} is damaged: {error}") from None
