// What tests change about the index: the file layer under it, and how soon it goes to the disk.
#pragma once

#include <cstddef>
#include <memory>

namespace rocksdb {
class FileSystem;
}

namespace rw {

struct IndexTuning {
  std::shared_ptr<rocksdb::FileSystem> files;  // null: the real one
  size_t memtable_bytes = 32 << 20;            // a flush becomes due at so many
};

}  // namespace rw
