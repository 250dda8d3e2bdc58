// What an operation that is in the journal did, as far as its answer tells it: for a request that
// comes again because a daemon ended between doing and answering it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "fs/record.h"
#include "metadata/inode.h"

namespace rw {

struct JournalledOperation {
  RecordType type = RecordType::kSetAttr;
  uint64_t length = 0;         // as in the record's body
  Ino ino = 0;                 // what it made or linked
  std::optional<Inode> inode;  // as the operation left it
};

// By the FUSE request's number.
using JournalledOperations = std::map<uint64_t, JournalledOperation>;

}  // namespace rw
