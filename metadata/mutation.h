// What one operation changes, as the journal records it and the index commits it. A record carries
// the resulting values and not the request, so that replaying it is writing them down again
// (metadata/FORMAT.md, "Mutations").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/chunk.h"
#include "metadata/inode.h"
#include "metadata/keys.h"

namespace rw {

struct InodeMutation {
  Ino ino = 0;
  std::optional<Inode> inode;  // absent: the inode ends
};

struct NameMutation {
  Ino parent = 0;
  std::string name;
  Ino ino = 0;  // 0: the name ends
  uint32_t type = 0;
};

struct ChunkMutation {
  Ino ino = 0;
  uint64_t chunk = 0;
  ChunkVersion version;
};

struct XattrMutation {
  Ino ino = 0;
  std::string name;
  std::optional<std::string> value;  // absent: the xattr ends
};

// A catalog entry; only in the control journal.
struct CatalogMutation {
  std::string key;                   // metadata/keys.h
  std::optional<std::string> value;  // absent: the entry ends
};

struct Mutations {
  std::vector<InodeMutation> inodes;
  std::vector<Ino> adopted;  // had no name, and have one now
  std::vector<NameMutation> names;
  std::vector<ChunkMutation> chunks;
  std::vector<XattrMutation> xattrs;
  std::vector<CatalogMutation> catalog;
  // Whose the data of a record are that moves them. Said for those who look at a journal; the index
  // is changed apart from it.
  std::optional<ChunkVersionKey> owner;

  void Encode(std::string* out, Instant at, TimelineId own) const;
  // Throws Refused(EIO) if `in` does not check out; reads to its end.
  static Mutations Decode(std::string_view in, Instant at, TimelineId own);

  // Turns extents that mean "the data of this record" into where those data are.
  void Resolve(TimelineId own, uint32_t segment, uint32_t first_frame_position);
};

}  // namespace rw
