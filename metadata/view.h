// A timeline read at an instant: the one read path of heads, snapshot volumes, clones and
// `.rewind/<time>`.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/chunk.h"
#include "metadata/index.h"
#include "metadata/inode.h"

namespace rw {

struct ViewName {
  std::string name;
  uint64_t cookie = 0;
  Ino ino = 0;
  uint32_t type = 0;  // S_IFMT bits
};

// Bytes at or beyond this offset of a file that were written at `at` are cut off.
uint64_t CutLimit(const std::vector<Cut>& cuts, Instant at);

// The versions of a chunk laid on each other, from the newest to older ones, as a reader sees them.
class ChunkFold {
 public:
  // `cuts` are the inode's, and must outlive the fold.
  ChunkFold(uint64_t chunk, const std::vector<Cut>& cuts)
      : start_(chunk * kChunkBytes), cuts_(cuts) {}
  // False: nothing older matters.
  bool Add(const ChunkVersion& version, Instant at);
  std::vector<Extent> Take();  // sorted, disjoint, without holes

 private:
  const uint64_t start_;
  const std::vector<Cut>& cuts_;
  std::vector<Extent> covered_;
};

// Reads the index and holds nothing: two reads of one view agree as long as the timeline gets no
// operation at or before the view's instant. A view of kInstantMax is the head; whoever writes the
// timeline keeps its readers apart. Thread safety: all methods may be called from any thread.
// Errors: Refused(EIO).
class View {
 public:
  // What is not found in one link is looked for in the next.
  struct Link {
    TimelineId timeline = 0;
    Instant until;  // versions after it are not seen
    Ino first_ino =
        1;  // inodes from here on were made in this timeline, so older links do not have them
  };

  // `chain` starts with the timeline itself and must not be empty.
  View(Index* index, std::vector<Link> chain) : index_(index), chain_(std::move(chain)) {}

  Instant at() const { return chain_.front().until; }
  const std::vector<Link>& chain() const { return chain_; }

  std::optional<Inode> FindInode(Ino ino) const;
  std::optional<ViewName> FindName(Ino parent, std::string_view name) const;
  // At least `limit` names with a cookie > `after`, in cookie order, unless there are fewer; names
  // that share a cookie are not torn apart.
  std::vector<ViewName> ListNames(Ino parent, uint64_t after, size_t limit) const;
  // `cuts` are the inode's.
  ChunkMap FindChunk(Ino ino, uint64_t chunk, const std::vector<Cut>& cuts) const;
  // The first chunk >= `chunk` of which there is any version (it may hold only holes).
  std::optional<uint64_t> NextChunk(Ino ino, uint64_t chunk) const;
  std::optional<std::string> FindXattr(Ino ino, std::string_view name) const;
  std::vector<std::string> ListXattrs(Ino ino) const;

 private:
  // The links that can know of `ino`.
  size_t LinksOf(Ino ino) const;

  Index* index_;
  std::vector<Link> chain_;
};

}  // namespace rw
