// How RocksDB is read.
#pragma once

#include <rocksdb/options.h>

namespace rw {

// Nothing in an index deletes ranges of keys. Were they looked for, RocksDB (7.8) would lose the
// error of a table that is entered, while going on from the one before it, and whose first block is
// damaged: the iterator ends there as if nothing followed.
inline rocksdb::ReadOptions IndexReadOptions() {
  rocksdb::ReadOptions options;
  options.ignore_range_deletions = true;
  return options;
}

}  // namespace rw
