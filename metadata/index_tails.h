// Copies of what a table of the index cannot be opened without.
//
// A table of RocksDB is blocks of data and, behind them, what finds these: filters, an index,
// properties, a footer. Damage to a block of data costs what lies in it; damage to that tail costs
// the table. So a copy of the tail, a few per cent of the table, is kept in a file of its own, and
// put back when the table is found damaged, or gone: then it is known at least which keys were in
// it. The copy of a table is durable before RocksDB's list of files has the table, and goes before
// the table does. metadata/FORMAT.md, "Tails", says what is in it.
//
// Thread safety: functions may be called at the same time for different tables. Errors: none are
// thrown; a copy that cannot be made (on a full disk, say) is made when the index is opened next.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace rocksdb {
class DB;
class FileSystem;
}  // namespace rocksdb

namespace rw {

// Copies the tail of the table at `path`: what follows its first `data_bytes`.
void KeepTableTail(rocksdb::FileSystem* files, const std::string& path, uint64_t data_bytes);
// Before the table at `path` is removed.
void DropTableTail(rocksdb::FileSystem* files, const std::string& path);
// Of all tables that have none; and removes those of tables that are not there.
void KeepMissingTails(rocksdb::FileSystem* files, rocksdb::DB* db);

// Whether the file is sound and another table, by what it says of itself, than `number`: RocksDB
// may take one of the same size for it.
bool IsAnotherTable(const std::string& path, uint64_t number);

// Puts back what tables of the index in `directory`, which nobody has open, have lost of their
// tails; data that are missing before it become zeros, which fail their checksums. What there was
// stays, as `<name>.damaged`. Returns what was done, in lines for the log.
std::vector<std::string> MendTables(const std::filesystem::path& directory);

}  // namespace rw
