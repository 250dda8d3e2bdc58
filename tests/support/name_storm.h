// Random operations on a few names, by one of several processes that all use the same ones. What
// each returns is success, or an errno that the call may return when others do what they like.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/random.h"

namespace rw::testing {

// How often each operation returned what, by its name and errno.
using StormCounts = std::map<std::string, std::map<int, uint64_t>>;
std::string ToText(const StormCounts& counts);
void AddText(const std::string& text, StormCounts& counts);

// Not thread safe.
class NameStorm {
 public:
  NameStorm(std::string directory, uint64_t seed);
  ~NameStorm();
  NameStorm(const NameStorm&) = delete;
  NameStorm& operator=(const NameStorm&) = delete;

  // Returns what is wrong, or an empty string.
  std::string Step();
  // The filesystem no longer answers; Step is not to be called any more.
  bool gone() const { return gone_; }
  const StormCounts& counts() const { return counts_; }

 private:
  struct Kind;
  static const std::vector<Kind>& Kinds();

  // All return 0 or the errno of the call, and note in what_ what was called.
  int Create();
  int MakeDirectory();
  int MakeSymlink();
  int MakeNode();
  int Link();
  int Unlink();
  int RemoveDirectory();
  int Rename();
  int Exchange();
  int RenameNoReplace();
  int RenameWhiteout();
  int MakeUnnamed();
  int SetXattr();
  int RemoveXattr();
  int ChangeMode();
  int ChangeOwner();
  int ChangeTimes();
  int Truncate();
  int ChangeHeld();  // a file that is open, perhaps without a name
  int CopyHeld();
  int List();
  int Look();

  int RenameWith(unsigned flags);
  std::string DrawPath();
  std::string Target();
  void Hold(int fd);
  int NameUnnamed(int fd);

  const std::string directory_;
  Random random_;
  std::vector<int> held_;  // regular files
  std::string what_;
  std::string problem_;  // beside the errno
  bool gone_ = false;
  StormCounts counts_;
};

}  // namespace rw::testing
