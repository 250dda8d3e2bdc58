// Between RocksDB and the disk: what RocksDB takes for granted of a file system and POSIX does not
// promise.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>
#include <optional>
#include <string>

namespace rw {

// `target`, but the names in a directory are durable before its CURRENT says which of them to use,
// and a table's tail (metadata/index_tails.h) goes with it.
std::shared_ptr<rocksdb::FileSystem> MakeIndexFiles(
    const std::shared_ptr<rocksdb::FileSystem>& target);

// The names in the directory are durable when it returns OK.
rocksdb::IOStatus SyncDirectory(rocksdb::FileSystem* files, const std::string& path);

// How many bytes of a MANIFEST, from its beginning, are whole and sound records.
size_t SoundManifestBytes(const std::string& manifest);

// Cuts a torn end off the database's MANIFEST; RocksDB would refuse all of it. What is torn was
// being written when the machine died: RocksDB syncs each change of the MANIFEST before it acts on
// it, so what is left describes a state that is still there. What sound records follow is no tear
// and is left as it is. Returns what was cut, for the log.
std::optional<std::string> CutTornManifest(rocksdb::FileSystem* files,
                                           const std::string& directory);

}  // namespace rw
