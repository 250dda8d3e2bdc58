// Goal: the layers keep their order, and each third-party library keeps its few users.
// Method: reads the #include lines of the source tree.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

namespace rw {
namespace {

namespace stdfs = std::filesystem;

struct Include {
  std::string file;  // from the top of the source tree, e.g. "fs/volume.h"
  std::string what;
};

std::vector<Include> IncludesOf(const std::string& layer) {
  static const std::regex pattern(R"(^\s*#\s*include\s*[<"]([^>"]+)[>"])");
  std::vector<Include> includes;
  const stdfs::path top = REWIND_SOURCE_DIR;
  for (const auto& entry : stdfs::recursive_directory_iterator(top / layer)) {
    std::string extension = entry.path().extension();
    if (extension != ".h" && extension != ".cc") continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (std::regex_search(line, match, pattern)) {
        includes.push_back({stdfs::relative(entry.path(), top), match[1]});
      }
    }
  }
  EXPECT_GT(includes.size(), 10u) << layer;
  return includes;
}

// Files of `layer` may not include what begins with one of `forbidden`.
void ExpectNone(const std::string& layer, const std::vector<std::string>& forbidden) {
  for (const Include& include : IncludesOf(layer)) {
    for (const std::string& prefix : forbidden) {
      EXPECT_FALSE(include.what.starts_with(prefix))
          << include.file << " includes " << include.what;
    }
  }
}

// Only files that begin with one of `users` may include what begins with `library`.
void ExpectUsers(const std::string& library, const std::vector<std::string>& users) {
  for (const char* layer : {"plugin", "fs", "metadata"}) {
    for (const Include& include : IncludesOf(layer)) {
      if (!include.what.starts_with(library)) continue;
      bool allowed = false;
      for (const std::string& user : users) allowed = allowed || include.file.starts_with(user);
      EXPECT_TRUE(allowed) << include.file << " includes " << include.what;
    }
  }
}

TEST(IncludesTest, PointOneWay) {
  ExpectNone("metadata", {"fs/", "plugin/", "tests/"});
  ExpectNone("fs", {"plugin/", "tests/"});
  ExpectNone("plugin", {"tests/"});
}

TEST(IncludesTest, LibrariesHaveFewUsers) {
  ExpectUsers("fuse", {"fs/session"});
  ExpectUsers("rocksdb/", {"metadata/index"});
  ExpectUsers("httplib", {"plugin/server", "plugin/unix_client"});
  ExpectUsers("CLI/", {"plugin/command_line"});
}

}  // namespace
}  // namespace rw
