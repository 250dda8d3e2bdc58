#include "fs/tree_compare.h"

#include <sys/stat.h>

#include <deque>

namespace rw {
namespace {

constexpr size_t kNamesAtOnce = 256;

// What a restore keeps of an inode; ctime is always another.
bool SameAttributes(const Inode& a, const Inode& b) {
  return a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.rdev == b.rdev &&
         a.mtime == b.mtime && a.target == b.target && (a.is_dir() || a.size == b.size);
}

}  // namespace

bool HaveSameData(const View& view_a, Ino ino_a, const Inode& a, const View& view_b, Ino ino_b,
                  const Inode& b, uint64_t end) {
  for (uint64_t chunk = 0;; ++chunk) {
    const auto in_a = view_a.NextChunk(ino_a, chunk);
    const auto in_b = view_b.NextChunk(ino_b, chunk);
    if (!in_a && !in_b) return true;
    chunk = std::min(in_a.value_or(UINT64_MAX), in_b.value_or(UINT64_MAX));
    if (chunk * kChunkBytes >= end) return true;
    if (view_a.FindChunk(ino_a, chunk, a.cuts).extents() !=
        view_b.FindChunk(ino_b, chunk, b.cuts).extents())
      return false;
  }
}

// The names of a directory, in the order that is the same in all views.
class TreeComparison::Names {
 public:
  Names(ViewVolume* view, Ino directory) : view_(view), directory_(directory) {}

  const DirEntry* Peek() {
    if (page_.empty() && directory_ != 0) {
      const auto entries = view_->ReadDir(directory_, after_, kNamesAtOnce);
      if (!entries.empty()) after_ = entries.back().cookie;
      if (entries.size() < kNamesAtOnce) directory_ = 0;
      page_.assign(entries.begin(), entries.end());
    }
    return page_.empty() ? nullptr : &page_.front();
  }
  DirEntry Take() {
    DirEntry entry = std::move(page_.front());
    page_.pop_front();
    return entry;
  }

 private:
  ViewVolume* view_;
  Ino directory_;
  uint64_t after_ = kFirstCookie;
  std::deque<DirEntry> page_;
};

void TreeComparison::Compare(const std::string& path, Ino source, Ino present) {
  open_.push_back({path, source, present});
  while (!open_.empty()) {
    const Pair pair = std::move(open_.back());
    open_.pop_back();
    step_();
    CompareInodes(pair);
  }
}

void TreeComparison::CompareInodes(const Pair& pair) {
  const auto a = pair.source != 0 ? source_->FindInode(pair.source) : std::nullopt;
  const auto b = pair.present != 0 ? present_->FindInode(pair.present) : std::nullopt;
  if (a) {
    ++report_->inodes;
    if (a->is_regular()) report_->bytes += a->size;
  }
  if (a && !b) {
    ++report_->created;
    Tell(RestoreChange::Kind::kCreate, pair.path, *a);
  } else if (b && !a) {
    ++report_->removed;
    if (b->is_regular()) report_->removed_bytes += b->size;
    Tell(RestoreChange::Kind::kRemove, pair.path, *b);
  } else if (a && b && SameAttributes(*a, *b) &&
             source_->view().ListXattrs(pair.source) == present_->ListXattrs(pair.present) &&
             SameContents(pair.source, *a, pair.present, *b)) {
    ++report_->unchanged;
  } else if (a && b) {
    ++report_->replaced;
    Tell(RestoreChange::Kind::kReplace, pair.path, *a);
  }
  const bool a_dir = a && a->is_dir();
  const bool b_dir = b && b->is_dir();
  if (a_dir || b_dir) CompareNames({pair.path, a_dir ? pair.source : 0, b_dir ? pair.present : 0});
}

void TreeComparison::CompareNames(const Pair& pair) {
  Names source(source_, pair.source), present(present_, pair.present);
  for (;;) {
    const DirEntry* a = source.Peek();
    const DirEntry* b = present.Peek();
    if (a == nullptr && b == nullptr) return;
    const auto key = [](const DirEntry* entry) { return std::pair(entry->cookie, entry->name); };
    const bool take_a = a != nullptr && (b == nullptr || key(a) <= key(b));
    const bool take_b = b != nullptr && (a == nullptr || key(b) <= key(a));
    Pair found;
    found.path = pair.path + (pair.path == "/" ? "" : "/") + (take_a ? a : b)->name;
    bool directory = false;
    if (take_a) directory |= a->type == S_IFDIR;
    if (take_b) directory |= b->type == S_IFDIR;
    if (take_a) found.source = source.Take().ino;
    if (take_b) found.present = present.Take().ino;
    if (directory) {
      open_.push_back(std::move(found));
    } else {
      step_();
      CompareInodes(found);
    }
  }
}

bool TreeComparison::SameContents(Ino source, const Inode& a, Ino present, const Inode& b) {
  if (!a.is_regular()) return true;
  const View& before = source_->view();
  const View& now = present_->view();
  if (source == present && a.ctime == b.ctime &&
      before.chain().back().timeline == now.chain().back().timeline && a.cuts == b.cuts)
    return true;
  return HaveSameData(before, source, a, now, present, b, a.size);
}

void TreeComparison::Tell(RestoreChange::Kind kind, const std::string& path, const Inode& inode) {
  if (report_->changes.size() >= RestoreReport::kMaxChanges) return;
  report_->changes.push_back(
      {kind, path, inode.mode & S_IFMT, inode.is_regular() ? inode.size : 0});
}

}  // namespace rw
