#include "metadata/inode_totals.h"

#include <algorithm>
#include <unordered_set>

#include "metadata/coding.h"

namespace rw {

InodeTotalsCursor::InodeTotalsCursor(Index* index, std::vector<View::Link> chain)
    : chain_(std::move(chain)) {
  for (const View::Link& link : chain_)
    cursors_.push_back(
        index->NewCursor(TypePrefix(KeyType::kInode, link.timeline), Index::Purpose::kScan));
}

Totals InodeTotalsCursor::Count() const {
  constexpr size_t kInoOffset = 1 + 4;
  Totals totals;
  std::unordered_set<Ino> newer;  // known by newer links, of those that older ones may know
  Ino limit = UINT64_MAX;         // inodes from here on are none of the link's
  Ino known_before = UINT64_MAX;
  for (size_t i = 0; i < chain_.size(); ++i) {
    const View::Link& link = chain_[i];
    Index::Cursor& cursor = *cursors_[i];
    const std::string prefix = TypePrefix(KeyType::kInode, link.timeline);
    Ino last = 0;
    for (cursor.Seek(prefix); cursor.Valid(); cursor.Next()) {
      const Ino ino = GetBigEndian<uint64_t>(cursor.key().data() + kInoOffset);
      const Instant at = InstantOf(cursor.key());
      if (ino == last || at > link.until || ino >= limit) continue;
      last = ino;
      if (newer.contains(ino)) continue;
      if (ino < link.first_ino) newer.insert(ino);
      if (cursor.value().empty()) continue;
      const Inode inode = Inode::Decode(cursor.value(), at);
      ++totals.inodes;
      if (!inode.is_dir()) totals.bytes += inode.allocated;
    }
    known_before = std::min(known_before, link.first_ino);
    limit = known_before;
  }
  return totals;
}

}  // namespace rw
