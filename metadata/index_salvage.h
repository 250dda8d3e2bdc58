// An index that is damaged, read for what is left of it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rocksdb {
class DB;
}

namespace rw {

class Index;

// Reads only. Not thread-safe.
class IndexSalvage {
 public:
  // Null if nothing of it can be read. If the list of its files is damaged, one is made anew from
  // the files, in `scratch`, of links to them.
  static std::unique_ptr<IndexSalvage> Open(const std::filesystem::path& path,
                                            const std::filesystem::path& scratch);
  ~IndexSalvage();
  IndexSalvage(const IndexSalvage&) = delete;
  IndexSalvage& operator=(const IndexSalvage&) = delete;

  // What is not found and not damaged was not in it.
  bool whole() const { return whole_; }
  // The list of files was made anew: what had been deleted may be there again, but for what has a
  // newer version.
  bool relisted() const { return relisted_; }

  // Copies what has the prefix, and returns the ranges [from, to) that cannot be read.
  using Ranges = std::vector<std::pair<std::string, std::string>>;
  Ranges Copy(const std::string& prefix, Index* to);
  Ranges Copy(const std::string& from, const std::string& end, Index* to);

 private:
  IndexSalvage();
  std::string FirstReadable(const std::string& after, const std::string& limit);

  std::unique_ptr<rocksdb::DB> db_;
  bool whole_ = true;
  bool relisted_ = false;
  std::filesystem::path scratch_;
};

}  // namespace rw
