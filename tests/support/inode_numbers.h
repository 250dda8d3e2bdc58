// Which files lie in a directory, whatever they are called.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>

namespace rw::testing {

inline std::set<ino_t> InodeNumbersIn(const std::filesystem::path& directory) {
  std::set<ino_t> numbers;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    struct stat st {};
    EXPECT_EQ(stat(entry.path().c_str(), &st), 0);
    numbers.insert(st.st_ino);
  }
  return numbers;
}

}  // namespace rw::testing
