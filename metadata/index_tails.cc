#include "metadata/index_tails.h"

#define XXH_INLINE_ALL
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/sst_file_reader.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <set>

#include "metadata/coding.h"
#include "metadata/index_files.h"

namespace rw {
namespace {

namespace stdfs = std::filesystem;

using rocksdb::FileOptions;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

constexpr const char* kDirectory = "tails";
constexpr const char* kTemporary = ".new";
constexpr const char* kDamaged = ".damaged";
constexpr size_t kHeaderBytes = 4 * sizeof(uint64_t);
constexpr size_t kCopiedAtOnce = 1 << 20;
constexpr size_t kReadOnError = 4096;

struct Tail {
  uint64_t table = 0;       // its number
  uint64_t data_bytes = 0;  // before the tail
  std::string bytes;

  uint64_t table_bytes() const { return data_bytes + bytes.size(); }

  std::string Encode() const {
    std::string out(sizeof(uint64_t), '\0');  // the checksum's place
    PutFixed(&out, table);
    PutFixed(&out, table_bytes());
    PutFixed(&out, data_bytes);
    out += bytes;
    const uint64_t checksum = Checksum(out);
    out.replace(0, sizeof checksum, reinterpret_cast<const char*>(&checksum), sizeof checksum);
    return out;
  }
  static std::optional<Tail> Decode(std::string_view file) {
    if (file.size() < kHeaderBytes || GetFixed<uint64_t>(file.data()) != Checksum(file))
      return std::nullopt;
    Tail tail;
    tail.table = GetFixed<uint64_t>(file.data() + 8);
    tail.data_bytes = GetFixed<uint64_t>(file.data() + 24);
    tail.bytes = file.substr(kHeaderBytes);
    if (GetFixed<uint64_t>(file.data() + 16) != tail.table_bytes()) return std::nullopt;
    return tail;
  }
  static uint64_t Checksum(std::string_view file) {
    return XXH3_64bits(file.data() + sizeof(uint64_t), file.size() - sizeof(uint64_t));
  }
};

// A table's name is its number and ".sst", its tail's the same without.
std::optional<uint64_t> NumberOf(const std::string& name) {
  uint64_t number = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

std::string TailPath(const std::string& table) {
  const stdfs::path path(table);
  return path.parent_path() / kDirectory / path.stem();
}

// Of a file that is as long, from `offset` on.
std::optional<std::string> ReadPart(rocksdb::FileSystem* files, const std::string& path,
                                    uint64_t offset, size_t bytes) {
  std::unique_ptr<rocksdb::FSRandomAccessFile> file;
  if (!files->NewRandomAccessFile(path, FileOptions(), &file, nullptr).ok()) return std::nullopt;
  std::string buffer(bytes, '\0');
  rocksdb::Slice got;
  if (!file->Read(offset, bytes, IOOptions(), &got, buffer.data(), nullptr).ok() ||
      got.size() != bytes)
    return std::nullopt;
  if (got.data() != buffer.data()) buffer.assign(got.data(), got.size());
  return buffer;
}

// The part of a table that is asked for; zeros where it cannot be read.
std::string ReadWhatIsThere(rocksdb::FileSystem* files, const std::string& path, uint64_t offset,
                            size_t bytes) {
  if (auto all = ReadPart(files, path, offset, bytes)) return *std::move(all);
  std::string sum;
  while (sum.size() < bytes) {
    const size_t length = std::min(bytes - sum.size(), kReadOnError);
    const auto part = ReadPart(files, path, offset + sum.size(), length);
    sum += part ? *part : std::string(length, '\0');
  }
  return sum;
}

// Writes the table anew, of the data that it has and its tail. What there was stays beside it.
bool Restore(rocksdb::FileSystem* files, const std::string& path, const Tail& tail,
             uint64_t sound_bytes) {
  const std::string temporary = path + kTemporary;
  std::unique_ptr<rocksdb::FSWritableFile> file;
  if (!files->NewWritableFile(temporary, FileOptions(), &file, nullptr).ok()) return false;
  bool done = true;
  for (uint64_t at = 0; done && at < tail.data_bytes;) {
    const uint64_t end = at < sound_bytes ? sound_bytes : tail.data_bytes;
    const auto length = static_cast<size_t>(std::min<uint64_t>(end - at, kCopiedAtOnce));
    const std::string part =
        at < sound_bytes ? ReadWhatIsThere(files, path, at, length) : std::string(length, '\0');
    done = file->Append(part, IOOptions(), nullptr).ok();
    at += length;
  }
  files->LinkFile(path, path + kDamaged, IOOptions(), nullptr).PermitUncheckedError();
  done = done && file->Append(tail.bytes, IOOptions(), nullptr).ok() &&
         file->Fsync(IOOptions(), nullptr).ok() && file->Close(IOOptions(), nullptr).ok() &&
         files->RenameFile(temporary, path, IOOptions(), nullptr).ok() &&
         SyncDirectory(files, stdfs::path(path).parent_path()).ok();
  if (!done) files->DeleteFile(temporary, IOOptions(), nullptr).PermitUncheckedError();
  return done;
}

// Every block of the table checks out: then it is the copy that is not this table's.
bool IsSound(const std::string& path) {
  rocksdb::SstFileReader reader{rocksdb::Options()};
  return reader.Open(path).ok() && reader.VerifyChecksum().ok();
}

// What was done to the table, if anything had to be.
std::string Mend(rocksdb::FileSystem* files, const std::string& path, const Tail& tail) {
  uint64_t size = 0;
  const rocksdb::IOStatus found = files->GetFileSize(path, IOOptions(), &size, nullptr);
  const bool there = found.ok();
  if (!there && files->FileExists(path, IOOptions(), nullptr).code() != IOStatus::kNotFound)
    return path + ": " + found.ToString();
  if (there && size == tail.table_bytes() &&
      ReadPart(files, path, tail.data_bytes, tail.bytes.size()) == tail.bytes)
    return "";
  const bool another = there && IsAnotherTable(path, tail.table);
  if (there && !another && IsSound(path)) return "";
  const uint64_t sound = !there || another ? 0 : std::min(size, tail.data_bytes);
  if (!Restore(files, path, tail, sound)) return path + ": damaged, and could not be written anew";
  if (sound == tail.data_bytes) return path + ": what finds its data was damaged, and is restored";
  if (sound > 0) return path + ": was cut off; what had been in it is known again";
  return path + ": " + (there ? "another table was in its place" : "it was missing") +
         "; what had been in it is known again, not its data";
}

// Whether the copy is one of that table, as far as its beginning and its size say.
bool IsCopyOf(rocksdb::FileSystem* files, const std::string& copy, uint64_t table,
              uint64_t table_bytes) {
  uint64_t size = 0;
  const auto header = ReadPart(files, copy, 0, kHeaderBytes);
  return header && files->GetFileSize(copy, IOOptions(), &size, nullptr).ok() &&
         GetFixed<uint64_t>(header->data() + 8) == table &&
         GetFixed<uint64_t>(header->data() + 16) == table_bytes &&
         table_bytes == GetFixed<uint64_t>(header->data() + 24) + size - kHeaderBytes;
}

}  // namespace

bool IsAnotherTable(const std::string& path, uint64_t number) {
  rocksdb::SstFileReader reader{rocksdb::Options()};
  if (!reader.Open(path).ok()) return false;
  const auto properties = reader.GetTableProperties();
  return properties == nullptr || properties->orig_file_number != number;
}

void KeepTableTail(rocksdb::FileSystem* files, const std::string& path, uint64_t data_bytes) {
  const std::string copy = TailPath(path);
  const std::string directory = stdfs::path(copy).parent_path();
  DropTableTail(files, path);  // of a table whose number is used again
  uint64_t size = 0;
  const auto number = NumberOf(stdfs::path(path).stem());
  if (!number || !files->GetFileSize(path, IOOptions(), &size, nullptr).ok() || size < data_bytes)
    return;
  const auto bytes = ReadPart(files, path, data_bytes, static_cast<size_t>(size - data_bytes));
  if (!bytes) return;
  const std::string temporary = copy + kTemporary;
  const Tail tail{*number, data_bytes, *bytes};
  if (!files->CreateDirIfMissing(directory, IOOptions(), nullptr).ok() ||
      !rocksdb::WriteStringToFile(files, tail.Encode(), temporary, true).ok() ||
      !files->RenameFile(temporary, copy, IOOptions(), nullptr).ok() ||
      !SyncDirectory(files, directory).ok())
    files->DeleteFile(temporary, IOOptions(), nullptr).PermitUncheckedError();
}

void DropTableTail(rocksdb::FileSystem* files, const std::string& path) {
  files->DeleteFile(TailPath(path), IOOptions(), nullptr).PermitUncheckedError();
}

void KeepMissingTails(rocksdb::FileSystem* files, rocksdb::DB* db) {
  const std::string directory = db->GetName() + "/" + kDirectory;
  std::vector<std::string> list;
  files->GetChildren(directory, IOOptions(), &list, nullptr).PermitUncheckedError();
  std::set<std::string> superfluous(list.begin(), list.end());
  superfluous.erase(".");
  superfluous.erase("..");
  std::vector<rocksdb::LiveFileMetaData> tables;
  db->GetLiveFilesMetaData(&tables);
  for (const rocksdb::LiveFileMetaData& table : tables) {
    const std::string path = table.db_path + table.name;
    const std::string copy = TailPath(path);
    if (superfluous.erase(stdfs::path(copy).filename()) > 0 &&
        IsCopyOf(files, copy, table.file_number, table.size))
      continue;
    rocksdb::Options options;
    options.env = db->GetEnv();
    rocksdb::SstFileReader reader(options);
    if (!reader.Open(path).ok()) continue;
    const auto properties = reader.GetTableProperties();
    if (properties != nullptr && properties->orig_file_number == table.file_number)
      KeepTableTail(files, path, properties->data_size);
  }
  for (const std::string& name : superfluous)
    files->DeleteFile(stdfs::path(directory) / name, IOOptions(), nullptr).PermitUncheckedError();
}

std::vector<std::string> MendTables(const stdfs::path& directory) {
  rocksdb::FileSystem* files = rocksdb::FileSystem::Default().get();
  std::vector<std::string> list, lines;
  const std::string tails = directory / kDirectory;
  files->GetChildren(tails, IOOptions(), &list, nullptr).PermitUncheckedError();
  for (const std::string& name : list) {
    const auto number = NumberOf(name);
    std::string file;
    if (!number || !rocksdb::ReadFileToString(files, stdfs::path(tails) / name, &file).ok())
      continue;
    const auto tail = Tail::Decode(file);
    if (!tail || tail->table != *number) continue;
    std::string line = Mend(files, directory / (name + ".sst"), *tail);
    if (!line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace rw
