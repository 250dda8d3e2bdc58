#include "fs/tree_diff.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>

#include "fs/segment.h"
#include "fs/touched.h"
#include "fs/tree_compare.h"
#include "fs/volume.h"
#include "metadata/coding.h"
#include "metadata/extent_reader.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kInoOffset = 1 + 4;
constexpr size_t kChunkOffset = kInoOffset + 8;
constexpr size_t kNameOffset = kInoOffset + 8 + 8;
constexpr int kVersionsBeforeSeek = 16;

using Name = std::pair<Ino, std::string>;  // directory, name

// Tells data that were written after an instant from older ones, by where they lie: a journal only
// grows, and the samples say how far it had come. Not of moved data, whose place says nothing.
class WrittenAfter {
 public:
  WrittenAfter(Index* index, Instant at, Instant now) : index_(index), at_(at), now_(now) {}

  // False: not known, or older.
  bool IsKnown(const Extent& extent) {
    if (extent.hole() || extent.segment >= kFirstMovedSegment) return false;
    const auto [found, unknown] = begins_.try_emplace(extent.timeline);
    if (unknown) found->second = Begin(extent.timeline);
    return JournalPosition{extent.segment, extent.frame_position} >= found->second;
  }

 private:
  // Where a sample lies that is later, soon after the instant; behind everything if there is none.
  JournalPosition Begin(TimelineId timeline) const {
    constexpr uint64_t kNear = 1'000'000;
    const uint64_t all = at_ < now_ ? now_.ns - at_.ns : 0;
    for (uint64_t tried = 0; tried < all;) {
      tried = tried > all / 2 ? all : std::min(all, std::max(kNear, 2 * tried));
      const auto sample = index_->FindSample(timeline, Instant{at_.ns + tried});
      if (sample && sample->at > at_ && sample->position.segment != 0) return sample->position;
    }
    return {UINT32_MAX, UINT32_MAX};
  }

  Index* const index_;
  const Instant at_, now_;
  std::map<TimelineId, JournalPosition> begins_;
};

class Comparison {
 public:
  Comparison(const Past& past, View before, View after, const Touched& touched,
             WrittenAfter written_after_before)
      : past_(past),
        before_(std::move(before)),
        after_(std::move(after)),
        touched_(touched),
        written_after_before_(std::move(written_after_before)),
        paths_before_(before_),
        paths_after_(after_) {}

  std::vector<TreeChange> Run() {
    for (const Name& name : touched_.names) CompareName(name);
    for (const Ino ino : touched_.inodes) CompareInode(ino);
    TellNames();
    JoinReplaced();
    TellInodes();
    std::sort(changes_.begin(), changes_.end());
    return std::move(changes_);
  }

 private:
  void CompareName(const Name& name) {
    const auto a = before_.FindName(name.first, name.second);
    const auto b = after_.FindName(name.first, name.second);
    if (!a && !b) return;
    if (a && b && a->ino == b->ino && IsSame(a->ino)) return;
    if (a) went_[a->ino].push_back(name);
    if (b) came_[b->ino].push_back(name);
    if (b) new_names_.insert(name);
    if (a && b) exchanged_.insert(name);
  }

  // Timelines with one parent give out the same numbers.
  bool IsSame(Ino ino) const { return MadeIn(before_, ino) == MadeIn(after_, ino); }
  static TimelineId MadeIn(const View& view, Ino ino) {
    for (const View::Link& link : view.chain()) {
      if (ino >= link.first_ino) return link.timeline;
    }
    return view.chain().back().timeline;
  }
  // That an inode of one view has in the other.
  std::optional<Inode> FindSame(const View& view, Ino ino) const {
    return IsSame(ino) ? view.FindInode(ino) : std::nullopt;
  }

  // What an inode is of that is there before and after.
  void CompareInode(Ino ino) {
    const auto a = FindSame(before_, ino);
    const auto b = FindSame(after_, ino);
    if (!a || !b || a->nlink == 0 || b->nlink == 0) return;
    std::vector<std::string> what = Differences(ino, *a, *b);
    if (!what.empty()) changed_.emplace(ino, std::move(what));
  }

  std::vector<std::string> Differences(Ino ino, const Inode& a, const Inode& b) {
    std::vector<std::string> what;
    if (a.is_regular() && (a.size != b.size || ContentsDiffer(ino, a, b)))
      what.emplace_back("contents");
    if (a.mode != b.mode)
      what.push_back("mode " + PermissionsText(a.mode) + " -> " + PermissionsText(b.mode));
    if (a.uid != b.uid || a.gid != b.gid) what.emplace_back("owner");
    if (!a.is_dir() && what.empty() && a.mtime != b.mtime) what.emplace_back("mtime");
    if (a.ctime != b.ctime && Xattrs(before_, ino) != Xattrs(after_, ino))
      what.emplace_back("xattrs");
    return what;
  }

  // Whether the bytes lie somewhere else, which they do if they were written: the same bytes
  // written again are a difference.
  bool ContentsDiffer(Ino ino, const Inode& a, const Inode& b) {
    if (a.cuts != b.cuts) return true;
    for (const Touched::Range& range : touched_.ranges) {
      std::set<uint64_t> chunks;
      bool written = false;
      ForEachTouched(past_.index(), InoPrefix(KeyType::kChunk, range.timeline, ino), range.after,
                     range.until, [&](std::string_view key, std::string_view version) {
                       written = ShowsWritten(range, version);
                       chunks.insert(GetBigEndian<uint64_t>(key.data() + kChunkOffset));
                       return !written;
                     });
      if (written) return true;
      for (const uint64_t chunk : chunks) {
        // Data may be moved between two looks, but hardly twice.
        if (ChunkDiffers(ino, chunk, a, b) && ChunkDiffers(ino, chunk, a, b)) return true;
      }
    }
    return false;
  }

  // Whether the newest version of a chunk in the range shows data that there were not before. All
  // that it names is seen afterwards if nothing lies above it: it was not cut either, for then the
  // cuts would differ.
  bool ShowsWritten(const Touched::Range& range, std::string_view version) {
    const View::Link& newest = after_.chain().front();
    if (range.timeline != newest.timeline || range.until != newest.until) return false;
    ExtentReader reader(version, range.timeline);
    for (Extent extent; reader.Next(&extent);) {
      if (written_after_before_.IsKnown(extent)) return true;
    }
    return false;
  }

  bool ChunkDiffers(Ino ino, uint64_t chunk, const Inode& a, const Inode& b) const {
    return before_.FindChunk(ino, chunk, a.cuts).extents() !=
           after_.FindChunk(ino, chunk, b.cuts).extents();
  }

  static std::map<std::string, std::string> Xattrs(const View& view, Ino ino) {
    std::map<std::string, std::string> xattrs;
    for (const std::string& name : view.ListXattrs(ino))
      xattrs[name] = view.FindXattr(ino, name).value_or("");
    return xattrs;
  }

  // Nothing for what a restore prepares or has displaced: nobody sees it.
  static std::optional<std::string> PathOf(DirectoryPaths* paths, const Name& name) {
    auto path = paths->Find(name.first);
    if (!path) return std::nullopt;
    path->push_back(name.second);
    return JoinPath(*path);
  }

  // Names that inodes got and lost: of one inode, one that went and one that came are a renaming.
  void TellNames() {
    for (auto& [ino, names] : came_) {
      const auto lost = went_.find(ino);
      for (const Name& name : names) {
        TreeChange change;
        const auto path = PathOf(&paths_after_, name);
        if (!path) continue;
        change.path = *path;
        change.ino_after = ino;
        change.after = after_.FindInode(ino);
        std::optional<std::string> old_path;
        if (lost != went_.end() && !lost->second.empty() && IsSame(ino)) {
          old_path = PathOf(&paths_before_, lost->second.front());
          lost->second.erase(lost->second.begin());
        }
        if (old_path) {
          change.kind = TreeChange::Kind::kRenamed;
          change.old_path = *old_path;
          change.ino_before = ino;
          change.before = before_.FindInode(ino);
          if (const auto changed = changed_.find(ino); changed != changed_.end())
            change.what = changed->second;
          told_.insert(ino);
        } else {
          change.kind = TreeChange::Kind::kAdded;
          const auto there = FindSame(before_, ino);
          if (there && there->nlink > 0) change.what.emplace_back("link");
        }
        Place(name, std::move(change));
      }
    }
    for (const auto& [ino, names] : went_) {
      for (const Name& name : names) {
        const auto in_place = placed_.find(name);
        if (in_place != placed_.end()) {
          Replace(ino, name, &changes_[in_place->second]);
          continue;
        }
        TreeChange change;
        const auto path = PathOf(&paths_before_, name);
        if (!path) continue;
        change.kind = TreeChange::Kind::kRemoved;
        change.path = *path;
        change.ino_before = ino;
        change.before = before_.FindInode(ino);
        const auto there = FindSame(after_, ino);
        if (there && there->nlink > 0) change.what.emplace_back("link");
        changes_.push_back(std::move(change));
      }
    }
  }

  // A restore makes what is in a directory anew: of one path, what went and what came are one
  // change, or none.
  void JoinReplaced() {
    std::map<std::string, size_t> removed;
    for (size_t i = 0; i < changes_.size(); ++i) {
      if (changes_[i].kind == TreeChange::Kind::kRemoved) removed[changes_[i].path] = i;
    }
    if (removed.empty()) return;
    std::set<size_t> gone;
    for (size_t i = 0; i < changes_.size(); ++i) {
      TreeChange& change = changes_[i];
      const auto found = removed.find(change.path);
      if (change.kind != TreeChange::Kind::kAdded || found == removed.end()) continue;
      const TreeChange& was = changes_[found->second];
      gone.insert(found->second);
      change.kind = TreeChange::Kind::kChanged;
      change.ino_before = was.ino_before;
      change.before = was.before;
      if (IsAsBefore(change)) {
        gone.insert(i);
      } else {
        change.what.emplace_back("replaced");
      }
    }
    std::vector<TreeChange> left;
    for (size_t i = 0; i < changes_.size(); ++i) {
      if (!gone.contains(i)) left.push_back(std::move(changes_[i]));
    }
    changes_ = std::move(left);
    placed_.clear();
  }

  bool IsAsBefore(const TreeChange& change) const {
    const Inode& a = *change.before;
    const Inode& b = *change.after;
    if (a.mode != b.mode || a.uid != b.uid || a.gid != b.gid || a.rdev != b.rdev ||
        a.target != b.target ||
        Xattrs(before_, change.ino_before) != Xattrs(after_, change.ino_after))
      return false;
    if (a.is_dir()) return true;
    if (a.size != b.size || a.mtime != b.mtime) return false;
    return HaveSameData(before_, change.ino_before, a, after_, change.ino_after, b, UINT64_MAX);
  }

  void Place(const Name& name, TreeChange change) {
    if (exchanged_.contains(name)) placed_[name] = changes_.size();
    changes_.push_back(std::move(change));
  }

  // What came took the place of what went.
  void Replace(Ino went, const Name& name, TreeChange* change) {
    change->what.emplace_back("replaced");
    if (change->kind != TreeChange::Kind::kAdded) return;
    // At one path, whatever its directory is called now.
    change->kind = TreeChange::Kind::kChanged;
    change->ino_before = went;
    change->before = before_.FindInode(went);
    if (const auto path = PathOf(&paths_before_, name)) SetOldPath(*path, change);
  }

  // A directory above it may have been renamed.
  static void SetOldPath(const std::string& path, TreeChange* change) {
    if (path != change->path) change->old_path = path;
  }

  void TellInodes() {
    std::unordered_set<Ino> wanted;  // files, of which nobody knows where they are
    for (const auto& [ino, what] : changed_) {
      if (told_.contains(ino)) continue;
      if (!after_.FindInode(ino)->is_dir()) {
        wanted.insert(ino);
        continue;
      }
      const auto path = paths_after_.Find(ino);
      const auto old_path = paths_before_.Find(ino);
      if (path && old_path) Tell(ino, JoinPath(*path), JoinPath(*old_path));
    }
    FindFiles(&wanted);
  }

  void Tell(Ino ino, std::string path, const std::string& old_path) {
    TreeChange change;
    change.path = std::move(path);
    SetOldPath(old_path, &change);
    change.ino_before = change.ino_after = ino;
    change.before = before_.FindInode(ino);
    change.after = after_.FindInode(ino);
    change.what = changed_[ino];
    changes_.push_back(std::move(change));
  }

  // Names are found by their keys, from one end to the other: faster than through the directories.
  // Most lead to none of the wanted, and cost no more than a step of the cursor: whether a view
  // shows a version is looked at for the others only.
  void FindFiles(std::unordered_set<Ino>* wanted) {
    for (const View::Link& link : after_.chain()) {
      const std::string prefix = TypePrefix(KeyType::kName, link.timeline);
      const auto cursor = past_.index()->NewCursor(prefix, Index::Purpose::kScan);
      std::string name;  // the key without its instant
      int versions = 0;  // of the name, that were stepped over
      cursor->Seek(prefix);
      while (!wanted->empty() && cursor->Valid()) {
        const std::string_view key = cursor->key();
        if (key.size() < kNameOffset + 1 + kInstantBytes)
          throw Refused(EIO, "index: a name's key is too short");
        const std::string_view without = key.substr(0, key.size() - kInstantBytes);
        versions = without == name ? versions + 1 : 0;
        if (versions == 0) name.assign(without);
        const Ino ino = DecodeNameValue(cursor->value()).ino;
        if (wanted->contains(ino)) TryName(ino, name, wanted);
        if (versions < kVersionsBeforeSeek) {
          cursor->Next();
          continue;
        }
        // It has come and gone very often: what matters is what is shown, and then the next name.
        const auto [parent, text] = NameOf(name);
        const auto shown = after_.FindName(parent, text);
        if (shown && wanted->contains(shown->ino)) TryName(shown->ino, name, wanted);
        std::string past = name;
        past.back() = '\x01';
        cursor->Seek(past);
      }
    }
  }

  static Name NameOf(std::string_view key) {
    return {GetBigEndian<uint64_t>(key.data() + kInoOffset),
            std::string(key.substr(kNameOffset, key.size() - kNameOffset - 1))};
  }

  void TryName(Ino ino, std::string_view key, std::unordered_set<Ino>* wanted) {
    const Name name = NameOf(key);
    // One of its names is older than the change, or a renaming would have told of it.
    if (new_names_.contains(name)) return;
    const auto found = after_.FindName(name.first, name.second);
    if (!found || found->ino != ino) return;
    const auto path = PathOf(&paths_after_, name);
    if (!path) return;
    Tell(ino, *path, PathOf(&paths_before_, name).value_or(*path));
    wanted->erase(ino);
  }

  const Past& past_;
  const View before_, after_;
  const Touched& touched_;
  WrittenAfter written_after_before_;
  DirectoryPaths paths_before_, paths_after_;
  std::map<Ino, std::vector<Name>> went_, came_;  // names that inodes lost and got
  std::set<Name> new_names_;                      // all that came
  std::set<Name> exchanged_;                      // names that lead to another inode
  std::map<Name, size_t> placed_;                 // of those, the change that tells what came
  std::map<Ino, std::vector<std::string>> changed_;
  std::set<Ino> told_;
  std::vector<TreeChange> changes_;
};

}  // namespace

const char* TreeChangeName(TreeChange::Kind kind) {
  switch (kind) {
    case TreeChange::Kind::kAdded:
      return "added";
    case TreeChange::Kind::kRemoved:
      return "removed";
    case TreeChange::Kind::kChanged:
      return "changed";
    case TreeChange::Kind::kRenamed:
      return "renamed";
  }
  return "other";
}

TreeDiff CompareInstants(Store& store, const Past& past, Instant before, Instant after,
                         bool use_events) {
  const View a = past.ViewAt(before);
  const View b = past.ViewAt(after);
  const Touched touched = FindTouched(store, past, a, b, use_events);
  return {Comparison(past, a, b, touched, {past.index(), before, after}).Run(), touched.by_events};
}

}  // namespace rw
