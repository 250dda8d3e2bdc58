#include "metadata/index_salvage.h"

#include <rocksdb/db.h>

#include <algorithm>

#include "metadata/index.h"
#include "metadata/index_reads.h"
#include "metadata/index_tails.h"
#include "metadata/keys.h"

namespace rw {
namespace {

namespace stdfs = std::filesystem;

constexpr size_t kCopiedAtOnce = 512;
// Positions between two keys are told apart by so many bytes.
constexpr size_t kSearchedBytes = 64;

std::unique_ptr<rocksdb::DB> OpenReadOnly(const stdfs::path& path) {
  rocksdb::Options options;
  options.paranoid_checks = false;  // a file that cannot be read is not all files' trouble
  options.max_open_files = 512;
  options.info_log_level = rocksdb::FATAL_LEVEL;
  rocksdb::DB* db = nullptr;
  if (!rocksdb::DB::OpenForReadOnly(options, path.string(), &db).ok()) return nullptr;
  return std::unique_ptr<rocksdb::DB>(db);
}

// One that cannot be opened is an error wherever its keys would be.
bool EachFileIsItself(rocksdb::DB* db) {
  std::vector<rocksdb::LiveFileMetaData> files;
  db->GetLiveFilesMetaData(&files);
  return std::none_of(files.begin(), files.end(), [](const auto& listed) {
    return IsAnotherTable(listed.db_path + listed.name, listed.file_number);
  });
}

bool HasTables(const stdfs::path& directory) {
  std::error_code error;
  for (stdfs::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".sst") return true;
  }
  return false;
}

// The string halfway between two, as numbers of kSearchedBytes.
std::string Between(std::string low, std::string high) {
  low.resize(kSearchedBytes, '\0');
  high.resize(kSearchedBytes, '\0');
  std::string middle(kSearchedBytes, '\0');
  unsigned carry = 0;
  std::string sum(kSearchedBytes, '\0');
  for (size_t i = kSearchedBytes; i-- > 0;) {
    const unsigned digit = static_cast<uint8_t>(low[i]) + static_cast<uint8_t>(high[i]) + carry;
    sum[i] = static_cast<char>(digit);
    carry = digit >> 8;
  }
  for (size_t i = 0; i < kSearchedBytes; ++i) {
    const unsigned digit = carry << 8 | static_cast<uint8_t>(sum[i]);
    middle[i] = static_cast<char>(digit >> 1);
    carry = digit & 1;
  }
  return middle;
}

}  // namespace

IndexSalvage::IndexSalvage() = default;

IndexSalvage::~IndexSalvage() {
  db_.reset();
  std::error_code ignored;
  if (!scratch_.empty()) stdfs::remove_all(scratch_, ignored);
}

std::unique_ptr<IndexSalvage> IndexSalvage::Open(const stdfs::path& path,
                                                 const stdfs::path& scratch) {
  std::unique_ptr<IndexSalvage> salvage(new IndexSalvage());
  salvage->db_ = OpenReadOnly(path);
  if (salvage->db_ != nullptr) {
    salvage->whole_ = EachFileIsItself(salvage->db_.get());
    return salvage;
  }
  std::error_code error;
  stdfs::remove_all(scratch, error);
  stdfs::create_directory(scratch, error);
  for (stdfs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".sst") continue;
    std::error_code ignored;  // what is missing then is found missing below
    stdfs::create_hard_link(it->path(), scratch / it->path().filename(), ignored);
  }
  salvage->scratch_ = scratch;
  rocksdb::Options options;
  options.create_if_missing = true;
  if (!HasTables(scratch) || !rocksdb::RepairDB(scratch.string(), options).ok()) return nullptr;
  salvage->db_ = OpenReadOnly(scratch);
  if (salvage->db_ == nullptr) return nullptr;
  salvage->relisted_ = true;
  salvage->whole_ = !HasTables(scratch / "lost");
  return salvage;
}

IndexSalvage::Ranges IndexSalvage::Copy(const std::string& prefix, Index* to) {
  return Copy(prefix, AfterPrefix(prefix), to);
}

IndexSalvage::Ranges IndexSalvage::Copy(const std::string& from, const std::string& end,
                                        Index* to) {
  Ranges lost;
  const rocksdb::Slice end_slice(end);
  rocksdb::ReadOptions options = IndexReadOptions();
  options.iterate_upper_bound = &end_slice;
  options.fill_cache = false;
  Index::Entries entries;
  std::string at = from;
  while (at < end) {
    const std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator(options));
    for (iterator->Seek(at); iterator->Valid(); iterator->Next()) {
      entries.emplace_back(iterator->key().ToString(), iterator->value().ToString());
      at = entries.back().first + '\0';
      if (entries.size() < kCopiedAtOnce) continue;
      to->Rewrite(entries);
      entries.clear();
    }
    if (iterator->status().ok()) break;
    const std::string next = FirstReadable(at, end);
    lost.emplace_back(at, next);
    at = next;
  }
  to->Rewrite(entries);
  return lost;
}

// The first place from which on something can be read again; `limit` if there is none.
std::string IndexSalvage::FirstReadable(const std::string& after, const std::string& limit) {
  const rocksdb::Slice limit_slice(limit);
  rocksdb::ReadOptions options = IndexReadOptions();
  options.iterate_upper_bound = &limit_slice;
  const auto readable = [&](const std::string& at) {
    const std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator(options));
    iterator->Seek(at);
    return iterator->status().ok();
  };
  std::string low = after, high = limit;
  low.resize(kSearchedBytes, '\0');
  high.resize(kSearchedBytes, '\0');
  for (std::string middle = Between(low, high); middle != low; middle = Between(low, high))
    (readable(middle) ? high : low) = middle;
  return std::min(high, limit);
}

}  // namespace rw
