#include "fs/deleted.h"

#include <errno.h>

#include <algorithm>
#include <map>

#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr uint64_t kMaxSteps = 100'000;  // of the cursor, for one page
constexpr int kStepsBeforeSeek = 4;
constexpr size_t kInoOffset = 1 + 4;
constexpr size_t kNameOffset = kInoOffset + 8 + 8;
constexpr size_t kMaxPaths = 10'000;  // of directories that are remembered

class Finder {
 public:
  Finder(const Past& past, const DeletedQuery& query) : past_(past), query_(query) {}

  DeletedPage Find() {
    DeletedQuery at = query_;
    for (; at.span < past_.spans().size(); ++at.span, at.link = 0) {
      const Past::Span& span = past_.spans()[at.span];
      if (span.to < query_.since) continue;
      // What the span inherited may have gone with it.
      const size_t links = IsNewest(span) ? 1 : span.chain.size();
      for (; at.link < links; ++at.link, at.from.clear()) {
        const auto stopped = Walk(span, span.chain[at.link], at.from);
        if (!stopped) continue;
        at.from = *stopped;
        page_.next = at;
        return std::move(page_);
      }
    }
    return std::move(page_);
  }

 private:
  bool IsNewest(const Past::Span& span) const { return &span == &past_.spans().back(); }

  // The names that a timeline has given or ended, as the span sees them; returns the key to go on
  // with.
  std::optional<std::string> Walk(const Past::Span& span, const View::Link& link,
                                  const std::string& from) {
    const std::string prefix = TypePrefix(KeyType::kName, link.timeline);
    const auto cursor = past_.index()->NewCursor(prefix, Index::Purpose::kScan);
    std::string key;
    for (cursor->Seek(from.empty() ? prefix : from); cursor->Valid(); SkipName(cursor.get(), key)) {
      if (cursor->key().size() < kNameOffset + 1 + kInstantBytes)
        throw Refused(EIO, "index: damaged name key");
      key.assign(cursor->key().substr(0, cursor->key().size() - kInstantBytes));
      if (steps_ >= kMaxSteps || page_.paths.size() >= query_.limit) return key;
      while (IsAt(cursor.get(), key) && InstantOf(cursor->key()) > link.until) Step(cursor.get());
      if (!IsAt(cursor.get(), key)) continue;
      LookAtVersions(span, cursor.get(), key);
    }
    return std::nullopt;
  }

  // Each ending of the name that is asked for, and whether it went with the span.
  void LookAtVersions(const Past::Span& span, Index::Cursor* cursor, const std::string& key) {
    const auto parent = GetBigEndian<uint64_t>(key.data() + kInoOffset);
    const std::string name = key.substr(kNameOffset, key.size() - kNameOffset - 1);
    for (bool last = true; IsAt(cursor, key); last = false) {
      const Instant at = InstantOf(cursor->key());
      const Ino ino = DecodeNameValue(cursor->value()).ino;
      const bool ended = ino == 0;
      if (ended && (at < query_.since || at <= span.from)) return;
      const bool went = !ended && last && !IsNewest(span) && !IsThere(span, ino);
      const auto since =
          ended || went ? Look(span, parent, name, ended ? Before(at) : span.to) : std::nullopt;
      if (since && *since < at) {
        // The path was the same since then, and was looked at.
        cursor->Seek(WithInstant(key, *since));
        ++steps_;
      } else {
        Step(cursor);
      }
    }
  }

  static TimelineId MadeIn(const Past::Span& span, Ino ino) {
    for (const View::Link& link : span.chain) {
      if (ino >= link.first_ino) return link.timeline;
    }
    return span.chain.back().timeline;
  }

  // Whether the span's inode, which had one name, has had one ever since.
  bool IsThere(const Past::Span& span, Ino ino) {
    if (!HasOneName(span, ino, span.to)) return false;
    for (const Past::Span* later = &span + 1; later <= &past_.spans().back(); ++later) {
      steps_ += 2;
      if (MadeIn(span, ino) != MadeIn(*later, ino) || !HasOneName(*later, ino, later->from) ||
          !HasOneName(*later, ino, later->to))
        return false;
    }
    return true;
  }

  bool HasOneName(const Past::Span& span, Ino ino, Instant at) const {
    const auto version = past_.FindInode(span, ino, at);
    if (!version || version->value.empty()) return false;
    const Inode inode = Inode::Decode(version->value, version->at);
    return inode.is_dir() ? inode.nlink > 0 : inode.nlink == 1;
  }

  void Step(Index::Cursor* cursor) {
    ++steps_;
    cursor->Next();
  }

  static bool IsAt(Index::Cursor* cursor, const std::string& key) {
    return cursor->Valid() && cursor->key().size() == key.size() + kInstantBytes &&
           cursor->key().starts_with(key);
  }

  void SkipName(Index::Cursor* cursor, std::string key) {
    for (int step = 0; IsAt(cursor, key); ++step) {
      if (step < kStepsBeforeSeek) {
        Step(cursor);
      } else {
        ++steps_;
        key.back() = '\x01';
        cursor->Seek(key);
        return;
      }
    }
  }

  // A name that was there at `at` and may be no more. Returns since when its directory was where it
  // was then.
  std::optional<Instant> Look(const Past::Span& span, Ino parent, const std::string& name,
                              Instant at) {
    ++steps_;
    auto readable = past_.LastReadable(at);
    if (!readable || *readable < span.from) return std::nullopt;
    auto path = PathOf(span, parent, *readable);
    // It may have gone with a directory that a restore has displaced, from where what lies in it
    // went from above to below.
    while (!path) {
      const auto displaced = DisplacedAt(span, parent, *readable);
      readable = displaced ? past_.LastReadable(Before(*displaced)) : std::nullopt;
      if (!readable || *readable < span.from) return std::nullopt;
      path = PathOf(span, parent, *readable);
    }
    const Instant since = past_.Find(span, *path, *readable).since;
    path->push_back(name);
    PathWalk walk(past_, *path, past_.now());
    auto gone = walk.Next();
    if (!gone || gone->present()) return since;
    auto older = walk.Next();
    for (; older && !older->present(); older = walk.Next()) gone = older;
    if (older && gone->from >= query_.since && !WasMoved(*gone, *older))
      page_.paths.push_back({JoinPath(*path), gone->from, *older, gone->span != older->span});
    return since;
  }

  // Since when the directory has been in one without a name, if it is.
  std::optional<Instant> DisplacedAt(const Past::Span& span, Ino directory, Instant at) {
    constexpr int kMaxDepth = 1000, kMaxVersions = 100'000;
    for (int depth = 0; depth < kMaxDepth && directory != kRootIno; ++depth) {
      ++steps_;
      const auto version = past_.FindInode(span, directory, at);
      if (!version || version->value.empty()) return std::nullopt;
      const Inode inode = Inode::Decode(version->value, version->at);
      if (!inode.is_dir()) return std::nullopt;
      if (inode.nlink > 0) {
        directory = inode.parent;
        continue;
      }
      InodeVersions versions(past_.index(), span, directory);
      std::optional<Instant> since;
      for (int i = 0; i < kMaxVersions; ++i) {
        ++steps_;
        const auto older = versions.AtOrBefore(since ? Before(*since) : at);
        if (!older || older->value.empty() || Inode::Decode(older->value, older->at).nlink > 0)
          break;
        since = older->at;
      }
      return since;
    }
    return std::nullopt;
  }

  // Where the directory was; one that is where it was found last need not be looked for.
  std::optional<std::vector<std::string>> PathOf(const Past::Span& span, Ino directory,
                                                 Instant at) {
    const auto known = paths_.find(directory);
    if (known != paths_.end() && past_.Find(span, known->second, at).ino == directory)
      return known->second;
    auto path = DirectoryPaths(past_.ViewAt(at)).Find(directory);
    if (paths_.size() >= kMaxPaths) paths_.clear();
    if (path) paths_[directory] = *path;
    return path;
  }

  // It has another path from then on.
  bool WasMoved(const PathState& gone, const PathState& older) const {
    if (MadeIn(*gone.span, older.ino) != MadeIn(*older.span, older.ino)) return false;
    auto after = past_.FindInode(*gone.span, older.ino, gone.from);
    // What lies in a directory that a restore has displaced goes after it.
    if (past_.index()->Get(
            WithInstant(RestoredPrefix(gone.span->chain.front().timeline), gone.from))) {
      after = past_.FindInode(*gone.span, older.ino, gone.span->to);
      if (!after || after->value.empty()) return false;
    }
    // Versions that nobody can look at may be gone.
    const bool exact = after && after->at == gone.from;
    if (!exact && !gone.span->kept.Contains(gone.from))
      after = past_.FindInode(*gone.span, older.ino, gone.last);
    if (!after || after->value.empty()) return false;
    const Inode inode = Inode::Decode(after->value, after->at);
    return inode.nlink > 0 && (inode.is_dir() || inode.nlink >= older.inode.nlink);
  }

  const Past& past_;
  const DeletedQuery& query_;
  DeletedPage page_;
  uint64_t steps_ = 0;
  std::map<Ino, std::vector<std::string>> paths_;
};

}  // namespace

DeletedPage FindDeleted(const Past& past, const DeletedQuery& query) {
  return Finder(past, query).Find();
}

}  // namespace rw
