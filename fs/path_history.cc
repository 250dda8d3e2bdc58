#include "fs/path_history.h"

#include <sys/stat.h>

#include <algorithm>

#include "metadata/keys.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

// Writes that lie no further apart are told in one line, unless there are very many.
constexpr uint64_t kGroupNanoseconds = 60'000'000'000;
constexpr uint64_t kMaxGroup = 20'000;
// So many states are looked at for a hint.
constexpr uint64_t kStatesForHint = 10'000;

std::string Owner(const Inode& inode) {
  return std::to_string(inode.uid) + ":" + std::to_string(inode.gid);
}

std::string FromTo(const std::string& what, const std::string& from, const std::string& to) {
  return what + " " + from + " -> " + to;
}

std::string FromTo(const std::string& what, uint64_t from, uint64_t to) {
  return FromTo(what, std::to_string(from), std::to_string(to));
}

// Across a rollback, or nothing on both sides of something that happened above it.
bool SameShown(const PathState& a, const PathState& b) {
  return a.ino == b.ino && a.timeline == b.timeline && a.version == b.version;
}

// Writing sets mtime to its instant. (So does `touch`, which looks the same from here.)
bool WrittenBetween(Instant older, Instant newer, const Inode& inode) {
  const auto ns =
      static_cast<uint64_t>(inode.mtime.seconds) * 1'000'000'000 + inode.mtime.nanoseconds;
  return ns > older.ns && ns <= newer.ns;
}

// What made one version of an inode of another, as far as the two tell.
std::vector<std::string> Differences(const PathState& from, const PathState& to) {
  const Inode& older = from.inode;
  const Inode& newer = to.inode;
  const Instant older_at = from.version, newer_at = to.version;
  std::vector<std::string> what;
  if (newer.is_regular()) {
    if (newer.size < older.size) {
      what.push_back(FromTo("truncated", older.size, newer.size));
    } else if (newer.size > older.size || newer.allocated != older.allocated ||
               newer.cuts != older.cuts || WrittenBetween(older_at, newer_at, newer)) {
      what.emplace_back("written");
    } else if (newer.mtime != older.mtime) {
      what.emplace_back("times");
    }
  } else if (newer.is_dir()) {
    if (newer.size != older.size) {
      what.push_back(FromTo("entries", older.size, newer.size));
    } else if (newer.mtime != older.mtime) {
      what.emplace_back("entries changed");
    }
  } else if (newer.mtime != older.mtime) {
    what.emplace_back("times");
  }
  if (newer.mode != older.mode)
    what.push_back(FromTo("mode", PermissionsText(older.mode), PermissionsText(newer.mode)));
  if (newer.uid != older.uid || newer.gid != older.gid)
    what.push_back(FromTo("owner", Owner(older), Owner(newer)));
  if (!newer.is_dir() && newer.nlink != older.nlink)
    what.push_back(FromTo("links", older.nlink, newer.nlink));
  if (what.empty()) what.emplace_back("attributes");
  return what;
}

class Reader {
 public:
  Reader(const Past& past, const std::vector<std::string>& path, const PathHistoryQuery& query)
      : past_(past), path_(path), query_(query), walk_(past, path, query.until) {}

  PathHistory Read() {
    std::optional<PathState> newer = walk_.Next();
    while (newer && newer->from >= query_.since) {
      std::optional<PathState> older = walk_.Next();
      for (; older && SameShown(*newer, *older); older = walk_.Next()) {
        newer->from = older->from;
        newer->arrived = older->arrived;
        newer->span = older->span;
      }
      if (older || newer->present()) Add(*newer, older ? &*older : nullptr);
      newer = older;
      if (!newer || !full_) continue;
      answer_.next = newer->last;
      break;
    }
    if (newer) answer_.ever |= newer->present();
    for (PathChange& change : answer_.changes) Complete(&change);
    return std::move(answer_);
  }

 private:
  // Puts it into the last group or begins another; `full_` if no other may begin after it.
  void Add(const PathState& newer, const PathState* older) {
    answer_.ever |= newer.present();
    PathChange change;
    change.state = newer;
    change.first = newer.from;
    Describe(newer, older, &change);
    const bool only_written = change.what == std::vector<std::string>{"written"};
    if (only_written && in_group_ && Fits(answer_.changes.back(), newer)) {
      PathChange& group = answer_.changes.back();
      group.first = newer.from;
      ++group.count;
    } else {
      answer_.changes.push_back(std::move(change));
      in_group_ = only_written && !query_.each;
    }
    // A page ends where the next change would not belong to its last line; see Read.
    ++states_;
    full_ =
        (answer_.changes.size() >= query_.limit || states_ >= query_.max_states) && !GroupGoesOn();
  }

  bool Fits(const PathChange& group, const PathState& state) const {
    return state.ino == group.state.ino && group.count < kMaxGroup &&
           group.state.from.ns - state.from.ns <= kGroupNanoseconds;
  }
  // Whether more of the last line may be to come; those few are looked at to find out.
  bool GroupGoesOn() const {
    return in_group_ && answer_.changes.back().count < kMaxGroup &&
           states_ < 2 * query_.max_states && answer_.changes.size() <= query_.limit;
  }

  void Describe(const PathState& newer, const PathState* older, PathChange* change) {
    std::vector<std::string>& what = change->what;
    if (older == nullptr) {
      // It came about then if its first version is all of it.
      const bool whole = newer.version == newer.arrived && newer.inode.ctime == newer.inode.mtime &&
                         ToFileTime(newer.version) == newer.inode.ctime &&
                         newer.inode.atime == newer.inode.ctime && newer.from == newer.version;
      change->at_oldest = !whole;
      what.emplace_back(whole ? "created" : "the oldest that is kept");
      return;
    }
    if (newer.span != older->span) {
      what.emplace_back(newer.span->chain.size() > 1 ? "rolled back" : "bound anew");
      return;
    }
    if (newer.ino != older->ino && WasRestored(newer, change)) return;
    if (!newer.present()) {
      DescribeEnd(newer, *older, change);
    } else if (newer.ino != older->ino) {
      if (older->present()) what.emplace_back("replaced");
      DescribeArrival(newer, change);
    } else {
      what = Differences(*older, newer);
    }
  }

  // By a restore of it, or of a directory above it.
  bool WasRestored(const PathState& newer, PathChange* change) const {
    const auto note = past_.index()->Get(
        WithInstant(RestoredPrefix(newer.span->chain.front().timeline), newer.from));
    if (!note) return false;
    const RestoreNote restored = RestoreNote::Decode(*note);
    change->what.push_back((newer.present() ? "restored, as of " : "removed by a restore, as of ") +
                           FormatInstant(restored.source));
    return true;
  }

  void DescribeEnd(const PathState& newer, const PathState& older, PathChange* change) {
    const bool known = newer.span->kept.Contains(newer.from);
    auto after = past_.FindInode(*newer.span, older.ino, newer.from);
    const bool renamed = after && after->at == newer.from;  // if it is still there
    // Versions that nobody can look at may be gone.
    if (!known && !renamed) after = past_.FindInode(*newer.span, older.ino, newer.last);
    if (!after || after->value.empty()) {
      change->what.emplace_back("removed");
      return;
    }
    const Inode inode = Inode::Decode(after->value, after->at);
    if (inode.nlink == 0) {
      change->what.emplace_back("removed");
    } else if (inode.nlink < older.inode.nlink && !inode.is_dir()) {
      change->what.emplace_back("removed; other links remain");
    } else {
      DescribeMove(renamed, older.ino, change);
    }
  }

  void DescribeMove(bool itself, Ino ino, PathChange* change) {
    change->what.emplace_back(itself ? "renamed" : "a directory above it was renamed");
    if (itself) moved_.emplace_back(change_index(), ino);
  }

  void DescribeArrival(const PathState& newer, PathChange* change) {
    const auto before = newer.from > newer.span->from
                            ? past_.FindInode(*newer.span, newer.ino, Before(newer.from))
                            : std::nullopt;
    if (!before || before->value.empty()) {
      change->what.emplace_back("created");
      return;
    }
    const Inode inode = Inode::Decode(before->value, before->at);
    if (inode.nlink < newer.inode.nlink && !inode.is_dir()) {
      change->what.emplace_back("linked");
    } else {
      DescribeMove(newer.version == newer.from, newer.ino, change);
    }
  }

  size_t change_index() const { return answer_.changes.size(); }

  // What takes more than the index's versions of this path, for those that are told.
  void Complete(PathChange* change) {
    const PathState& state = change->state;
    change->readable = past_.FirstReadable(state.from).value_or(state.last);
    const auto index = static_cast<size_t>(change - answer_.changes.data());
    for (const auto& [of, ino] : moved_) {
      if (of == index) NamePeer(ino, change);
    }
  }

  // The other end of a renaming, which its record tells.
  void NamePeer(Ino ino, PathChange* change) {
    const PathState& state = change->state;
    const auto record = past_.FindRecord(state.span->chain.front().timeline, state.from);
    if (!record) return;
    const bool arrived = state.present() && state.ino == ino;
    std::optional<NameMutation> peer;
    for (const NameMutation& name : record->mutations.names) {
      // Where it went, or the name that ended (or, of an exchange, that got what was here).
      const bool other = arrived ? name.ino != ino : name.ino == ino;
      if (other) peer = name;
    }
    if (!peer) return;
    const Instant when = arrived ? Before(state.from) : state.from;
    auto path = DirectoryPaths(past_.ViewAt(when)).Find(peer->parent);
    if (!path) return;
    path->push_back(peer->name);
    if (*path == path_) return;
    (arrived ? change->renamed_from : change->renamed_to) = JoinPath(*path);
  }

  const Past& past_;
  const std::vector<std::string>& path_;
  const PathHistoryQuery& query_;
  PathWalk walk_;
  PathHistory answer_;
  std::vector<std::pair<size_t, Ino>> moved_;  // changes that are renamings, of what
  uint64_t states_ = 0;
  bool in_group_ = false;
  bool full_ = false;
};

}  // namespace

std::optional<PathState> PathWalk::Next() {
  if (!next_) return std::nullopt;
  PathState state;
  state.last = *next_;
  if (span_ == nullptr || state.last < found_.since || state.last < span_->from) {
    span_ = &past_.SpanAt(state.last);
    found_ = past_.Find(*span_, path_, state.last);
    versions_ = found_.ino != 0 ? std::make_unique<InodeVersions>(past_.index(), *span_, found_.ino)
                                : nullptr;
  }
  state.span = span_;
  state.arrived = state.from = std::max(found_.since, span_->from);
  if (versions_ != nullptr) {
    auto version = versions_->AtOrBefore(state.last);
    if (!version || version->value.empty()) throw Refused(EIO, "damaged: a name leads to no inode");
    state.ino = found_.ino;
    state.inode = Inode::Decode(version->value, version->at);
    state.timeline = version->timeline;
    state.version = version->at;
    state.from = std::max(state.from, version->at);
  }
  next_ = state.from.ns == 0 ? std::nullopt : past_.LastReadable(Before(state.from));
  return state;
}

std::optional<std::string> WhenItWas(const Past& past, const std::vector<std::string>& path,
                                     Instant at) {
  PathWalk walk(past, path, kInstantMax);
  std::optional<PathState> nearest;
  for (uint64_t states = 0; states < kStatesForHint; ++states) {
    const auto state = walk.Next();
    if (!state) break;
    if (!state->present()) continue;
    nearest = state;
    if (state->last < at) break;
  }
  if (!nearest) return std::nullopt;
  return nearest->last < at ? "it was there until " + FormatInstant(nearest->last)
                            : "it was there from " + FormatInstant(nearest->from) + " on";
}

PathHistory ReadPathHistory(const Past& past, const std::vector<std::string>& path,
                            const PathHistoryQuery& query) {
  return Reader(past, path, query).Read();
}

}  // namespace rw
