// Does the operations of a random driver on a directory, by path and with system calls.
#pragma once

#include <map>
#include <set>
#include <string>

#include "tests/support/operation.h"
#include "tests/support/reference_model.h"

namespace rw::testing {

// Not thread safe. The process must be root, with a umask of 0.
class DirectoryDriver {
 public:
  // `directory` must be empty at first, or have the tree of the model that is passed to Step.
  explicit DirectoryDriver(std::string directory) : directory_(std::move(directory)) {}
  ~DirectoryDriver();
  DirectoryDriver(const DirectoryDriver&) = delete;
  DirectoryDriver& operator=(const DirectoryDriver&) = delete;

  // Does the operation on the directory and on the model. The instant is taken from the ctime of
  // what it changed if `times_are_instants`, else it is made up. Returns what is wrong, or an empty
  // string.
  std::string Step(ReferenceModel& model, const Operation& operation, bool times_are_instants);

  // Instants of operations that the kernel may have done in two, so that the tree just before them
  // may be that of the first half. It cuts a write that begins inside a page that it has not cached
  // and goes beyond it, and it removes a file's capabilities by itself before it changes the
  // contents.
  const std::set<Instant>& split() const { return split_; }

 private:
  static bool MayBeSplit(const ReferenceModel& model, const Operation& operation);
  int Perform(const ReferenceModel& model, const Operation& operation);
  int CreateIn(const ReferenceModel& model, const Operation& operation);
  int SetAttr(const std::string& path, int fd, const AttrChange& change);
  int WithFile(const ReferenceModel& model, const Operation& operation);
  int CopyRange(const ReferenceModel& model, const Operation& operation);

  std::string Path(const ReferenceModel& model, ModelIno ino) const;
  std::string Path(const ReferenceModel& model, ModelIno parent, const std::string& name) const;
  int FdOf(ModelIno ino) const;  // of an unlinked file; -1 if there is none
  // Opens what the operation is going to unlink for good, if it is a file.
  void HoldVictim(const ReferenceModel& model, const Operation& operation);
  // Closes what was not unlinked after all, and has the model forget what nobody holds.
  void ReleaseVictims(ReferenceModel& model, Instant at);
  Instant ChangeTime(const ReferenceModel& model, const Operation& operation) const;

  const std::string directory_;
  std::map<ModelIno, int> held_;
  int unnamed_fd_ = -1;         // what O_TMPFILE has just made
  std::set<ModelIno> unnamed_;  // what it made and nobody has named
  std::set<Instant> split_;
};

}  // namespace rw::testing
