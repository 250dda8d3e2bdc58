// A process that works on a store until it is killed, and the record of what it acknowledged.
//
// Parent and child draw the same operations from the same seed and the same model, so that the
// child need only say which instant each got. Each volume has a thread, and one thread more makes
// and removes volumes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "fs/store.h"
#include "tests/support/random_operations.h"
#include "tests/support/twin.h"

namespace rw::testing {

inline constexpr uint32_t kKilledVolumes = 2;

// Written to the pipe in one piece, and to the log that the next child begins with.
struct Acknowledgement {
  // Numbers of volumes, or one of the following.
  static constexpr uint32_t kMade =
      100;  // volume MadeName(run, created), from volume 0 at `instant`
  static constexpr uint32_t kRemoved = 101;     // that volume was removed
  static constexpr uint32_t kRolledBack = 102;  // that clone was rolled back to its first instant

  uint32_t run = 0;
  uint32_t who = 0;
  int64_t error = 0;
  uint64_t instant = 0;  // of the volume's newest operation, once this one was done
  uint64_t created = 0;  // the inode made, or the number of the volume made
};

std::string KilledVolumeName(uint32_t number);
std::string MadeName(uint32_t run,
                     uint64_t number);  // clones have odd numbers, snapshot volumes even

// The model of one volume and the operations that each run draws for it.
class LoggedVolume {
 public:
  LoggedVolume(Store& store, uint32_t number, uint64_t seed);

  void BeginRun(uint32_t run);
  Operation Next() { return operations_->Next(twin_.model); }
  // Takes over what the product did. Returns what is wrong with it, or an empty string.
  std::string Take(const Operation& operation, const Acknowledgement& acknowledgement);
  // After a kill: finds out whether the operation under way was done, and takes it over if so.
  // `done` is then what belongs into the log. The twin's volume must be open.
  std::string ResolveLast(std::vector<Acknowledgement>& done);
  // Repeats what is in the log of all runs.
  std::string Replay(const std::vector<Acknowledgement>& log);

  Twin& twin() { return twin_; }

 private:
  const uint32_t number_;
  const uint64_t seed_;
  uint32_t run_ = 0;
  Instant newest_;  // of the product's operations that were taken over
  Twin twin_;
  std::unique_ptr<RandomOperations> operations_;
};

struct KilledRun {
  std::filesystem::path root;  // of the store
  std::filesystem::path log;   // file of Acknowledgements of the runs before
  uint64_t seed = 0;
  uint32_t run = 0;
  bool collect = false;  // history is kept for a moment only, and collected all the time
};

inline constexpr uint64_t kKilledRetentionNs = 300'000'000;  // with `collect`
StoreOptions OptionsOf(const KilledRun& run);

void WriteLog(const std::filesystem::path& path, const std::vector<Acknowledgement>& log);

// In the child: works until killed, and writes Acknowledgements to `fd`. Returns what went wrong.
std::string WorkUntilKilled(const KilledRun& run, int fd);

// In the parent: runs this program again with the one test `child_test`, kills it `delay` after its
// first acknowledgement (or, if `from_start`, after its start), and returns all that it had
// acknowledged. Sets `problem` if it ended in another way.
std::vector<Acknowledgement> RunAndKill(const KilledRun& run, const std::string& child_test,
                                        std::chrono::microseconds delay, bool from_start,
                                        std::string* problem);

// In the child: what RunAndKill was called with; false if this process is not one of its children.
bool KilledRunFromEnvironment(KilledRun* run, int* fd);

}  // namespace rw::testing
