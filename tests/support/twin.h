// A volume and its reference model, driven side by side through the library.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "fs/volume.h"
#include "tests/support/operation.h"
#include "tests/support/random.h"
#include "tests/support/reference_model.h"
#include "tests/support/tree.h"

namespace rw::testing {

using InoMap = std::map<ModelIno, Ino>;

// Asks the volume for the operation. Returns 0 or the errno; `created` gets the number of a new
// inode. `problem` gets a line if what an operation returns is not what is there afterwards.
int ApplyToVolume(Volume& volume, const InoMap& inos, const Operation& operation, Ino* created,
                  std::string* problem);

// The inode that an operation which was done has made; nothing if it makes none, or it is not
// there.
std::optional<Ino> FindCreated(Volume& volume, const InoMap& inos, const Operation& operation);

// True if both succeeded, or both refused for the same reason as far as the reason is defined.
bool SameOutcome(const ReferenceModel& model, const Operation& operation, int expected, int actual);

struct Twin {
  std::string name;
  std::shared_ptr<Volume> volume;  // null while it is closed
  ReferenceModel model;
  InoMap inos;
  // False once it was made from an instant with unlinked inodes: the volume still counts those.
  bool exact_usage = true;

  // Does the operation on both. Returns what is wrong, or an empty string.
  std::string Step(const Operation& operation);
  // Does on the model what the volume, which was at `before`, has been asked for and answered with
  // `actual`. Returns how the answers differ, or an empty string.
  std::string Follow(const Operation& operation, Instant before, int actual, Ino created);
  // Reads a random range of a random file, also of an unlinked one.
  std::string CheckRandomRead(Random& random) const;
  // Compares the tree of `view`, which shows instant `at`, with the model: everything in it, inode
  // numbers too.
  std::string CheckView(Volume& view, Instant at) const;
  // The inodes that were unlinked and still open at `at` can be read too.
  std::string CheckUnlinked(Volume& view, Instant at) const;
  // What the view counts is what it has.
  std::string CheckUsage(Volume& view, Instant at, const CollectedTree& collected) const;
  // No kernel knows any inode any more.
  void ForgetAll();
};

}  // namespace rw::testing
