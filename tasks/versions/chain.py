"""Whether the versions and the log of a dataset are the ones that were written: each by what the others say of it.

Found is: a document whose content is not that of its digest; one of which another names another digest; one that
others name and that is gone; a tag that does not point where the moves lead. With a key in the environment also:
whatever is neither signed with it nor named, over whichever others, by something that is. Not found is that the newest
documents are gone which nothing names yet: the lake is then what it once was. Whoever notes the digest of the last
link elsewhere finds that, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import ValidationError

from tasks.core.errors import BadArtefact
from tasks.versions.check import Check
from tasks.versions.early_moves import early_move_names
from tasks.versions.history import History
from tasks.versions.log import Link
from tasks.versions.seal import SIGNING_KEY, Named, Seal, has_key, is_unbroken, sha256, signature_of


class Chain:
    """All documents of a dataset.

    Args:
        history: of the dataset.
    """

    def __init__(self, history: History) -> None:
        self.versions = {f"v{number:04d}.json": data for number, data in _documents(history.numbers(), history.data)}
        logged = {
            f"log/{number:06d}.json": data for number, data in _documents(history.log.numbers(), history.log.data)
        }
        self.documents = self.versions | logged
        self.links = {name: link for name, data in logged.items() if (link := _link(data)) is not None}
        self.removed = {f"{gone.version}.json": gone for link in self.links.values() for gone in link.removed}
        names = early_move_names(history.objects, history.dataset)
        early = {name: sha256(history.objects.read(f"{history.dataset}/{name}")) for name in names}
        self.digests = {name: gone.sha256 for name, gone in self.removed.items()} | early
        self.digests |= {name: sha256(data) for name, data in self.documents.items()}
        self.adopted = {name: digest for link in self.links.values() for name, digest in link.adopted.items()}
        self._statements = {name: self._said_by(name) for name in (*self.removed, *self.documents)}
        self._problems = self._found(early)

    # ---- what is wrong -------------------------------------------------------------------------------------------

    def _said_by(self, name: str) -> list[Named]:
        """What a document says of others; of one that was altered nothing counts."""
        seal = self._seal(name)
        if name in self.documents and not is_unbroken(self.documents[name]):
            return []
        said = [] if seal is None else seal.names
        link = self.links.get(name)
        if link is not None:
            said = said + [Named(name=other, sha256=digest) for other, digest in link.adopted.items()]
            said += [Named(name=f"{gone.version}.json", sha256=gone.sha256) for gone in link.removed]
        return said

    def _seal(self, name: str) -> Seal | None:
        data = self.documents.get(name)
        return Seal.of(data) if data is not None else self.removed[name].seal if name in self.removed else None

    def _found(self, early: dict[str, str]) -> dict[str, list[str]]:
        problems: dict[str, list[str]] = {}
        for name in self.documents:
            problems.setdefault(name, []).extend(self._own(name))
        for by, said in self._statements.items():
            for named in (named for named in said if self.digests.get(named.name) != named.sha256):
                says = "is not the one that {} names" if named.name in self.digests else "is gone, and {} names it"
                problems.setdefault(named.name, []).append(says.format(by))
        for name in early if self.links else ():
            if name not in self.adopted:
                problems[name] = ["is in no log, and moves nothing: it was added by hand, or by gradsieve 0.6"]
        for name in self._not_attested():
            problems.setdefault(name, []).append(
                f"is not signed with this {SIGNING_KEY}, nor named by anything that is"
            )
        return {name: said for name, said in problems.items() if said}

    def _own(self, name: str) -> Iterator[str]:
        """What is wrong with a document by itself and by the one before it."""
        data, seal = self.documents[name], self._seal(name)
        number, form = _number(name)
        if name not in self.versions and name not in self.links:
            yield "is damaged"
        elif not is_unbroken(data):
            yield "was altered after it was sealed"
        elif seal is None:
            if name not in self.adopted and (self.links or name not in self.versions):
                yield "has no seal, and was not there when the log began"
        elif (seal.before and seal.before.name) != (form.format(number - 1) if number > 1 else None):
            yield f"names {seal.before.name if seal.before else 'none'} as the one before it"
        link, before = self.links.get(name), self.links.get(form.format(number - 1))
        if link is not None and before is not None:
            yield from _tags_between(before, link)

    def _not_attested(self) -> list[str]:
        """With a key: documents neither signed with it nor named by what is."""
        if not has_key():
            return []
        attested: set[str] = set()
        names = [name for name in self.documents if self._is_signed(name)]
        while names:
            name = names.pop()
            attested.add(name)
            said = [named.name for named in self._statements.get(name, []) if self._is(named)]
            names += [other for other in said if other not in attested]
        return [name for name in self.documents if name not in attested]

    def _is(self, named: Named) -> bool:
        return self.digests.get(named.name) == named.sha256

    def _is_signed(self, name: str) -> bool:
        return is_unbroken(self.documents[name]) and signature_of(self._seal(name)) == "valid"

    # ---- what is said --------------------------------------------------------------------------------------------

    def of_version(self, name: str) -> Check:
        """Whether a manifest is the one that was written."""
        seal = self._seal(name)
        if name in self._problems:
            return Check("seal", "wrong", f"{name} {'; '.join(self._problems[name])}")
        if seal is None and not self.links:
            return Check("seal", "unknown", "from before there was a log, which begins when the next version is made")
        if seal is None and name not in self.documents:
            return Check("seal", "unknown", "made since all documents were read; ask again")
        if seal is None:
            began = next(link.at for link in self.links.values() if name in link.adopted)
            return Check("seal", "attested", f"from before there was a log; as it was when that began, {began[:19]}")
        return Check("seal", "ok", f"as it was sealed{_signed(seal)}")

    def of_all(self) -> Iterator[Check]:
        """What concerns no version that is there: the log, the tags, and what is gone."""
        for name, said in self._problems.items():
            if name not in self.versions:
                yield Check(name, "wrong", "; ".join(said))
        if not self.links:
            yield Check("log", "unknown", "there is none yet; it begins when the next version is made or a tag moved")
            return
        name, last = list(self.links.items())[-1]
        yield Check("log", "ok", f"{len(self.links):,} links, the last one {name} {self.digests[name]}")
        targets = {tag: there for tag, there in sorted(last.tags.items()) if there}
        gone = [f"{tag} at {there}" for tag, there in targets.items() if f"{there}.json" not in self.versions]
        tags = ", ".join(f"{tag} at {there}" for tag, there in targets.items()) or "none"
        yield Check("tags", "wrong", f"{', '.join(gone)}, not there") if gone else Check("tags", "ok", tags)
        if self.adopted:
            first = next(iter(self.links.values()))
            yield Check(
                "before", "attested", f"{len(self.adopted):,} documents from before the log, of {first.at[:19]}"
            )
        yield self._signatures(name)

    def _signatures(self, last: str) -> Check:
        state = signature_of(self._seal(last))
        if has_key():
            says = f"the last link is{_signed(self._seal(last)).removeprefix(',')}"
            return Check("signature", "ok" if state == "valid" else "wrong", says)
        if state == "unchecked":
            return Check("signature", "unknown", f"the last link is signed; {SIGNING_KEY} is not set, to check it with")
        says = "nothing is signed: whoever may write all files here may write all of this anew"
        return Check("signature", "attested", f"{says} ({SIGNING_KEY} is not set)")


def _documents(numbers: list[int], data: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    """What was listed and is still there."""
    for number in numbers:
        try:
            yield number, data(number)
        except BadArtefact:  # cleared away since
            continue


def _number(name: str) -> tuple[int, str]:
    """The number in a document's name, and the form of such names."""
    if name.startswith("log/"):
        return int(name[4:-5]), "log/{:06d}.json"
    return int(name[1:-5]), "v{:04d}.json"


def _link(data: bytes) -> Link | None:
    try:
        return Link.model_validate_json(data)
    except ValidationError:
        return None


def _tags_between(before: Link, link: Link) -> Iterator[str]:
    """What is wrong with where tags point from one link to the next."""
    moved = {} if link.tag is None else {link.tag: link.version}
    if link.tags != before.tags | moved:
        yield f"has tags to which no move leads from {before.file}"
    if link.tag is not None and link.was != before.tags.get(link.tag):
        yield f"moves {link.tag} from {link.was}, where it was not"


def _signed(seal: Seal | None) -> str:
    words = {"valid": ", signed", "other": ", signed with another key", "none": ", not signed", "unchecked": ", signed"}
    return words[signature_of(seal)]
