// What one operation changes, as the journal records it and the index commits it. A record carries
// the resulting values and not the request, so that replaying it is writing them down again
// (metadata/FORMAT.md, "Mutations").
#pragma once

#include <cstdint>
#include <memory>
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

// Who asked for operations, as /proc told it when the first of them came. Said once in each
// segment, with the first of its operations there.
struct Writer {
  uint32_t thread = 0;           // the number that FUSE gives, as the daemon sees it: of a thread
  uint32_t process = 0;          // of its process
  uint64_t started_seconds = 0;  // since the Unix epoch
  std::string command;           // of the process, at most 15 bytes
  std::string container;         // its id; empty if it is in none that can be told
  friend bool operator==(const Writer&, const Writer&) = default;
};

// What a restore did: names that lead to something else since then.
struct RestoreNote {
  struct Place {
    std::string path;  // as it was called then
    Ino parent = 0;
    std::string name;
    Ino displaced = 0;  // what was there; 0: nothing
  };
  Instant source;                 // as of when
  std::optional<Instant> undoes;  // it takes back what was done at that instant
  std::vector<Place> places;

  std::string Encode() const;
  static RestoreNote Decode(std::string_view bytes);  // throws Refused(EIO)
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
  // Extents may name data that the timeline did not show any more: their segments are not free
  // because the range's first instant does not see them (fs/README.md, "Restoring").
  bool bring_back = false;
  std::optional<RestoreNote> restored;
  // Whose the data of a record are that moves them, or that has them again because a restore could
  // not share them. Said for those who look at a journal; the index knows nothing of it.
  std::optional<ChunkVersionKey> owner;

  // Of these two the index knows nothing: for those who look at a journal.
  std::shared_ptr<const Writer> writer;
  std::string holder;  // who mounted or unmounted the volume

  void Encode(std::string* out, Instant at, TimelineId own) const;
  // Throws Refused(EIO) if `in` does not check out; reads to its end.
  static Mutations Decode(std::string_view in, Instant at, TimelineId own);

  // Turns extents that mean "the data of this record" into where those data are.
  void Resolve(TimelineId own, uint32_t segment, uint32_t first_frame_position);
};

}  // namespace rw
