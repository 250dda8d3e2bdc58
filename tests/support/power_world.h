// A store on a recorded disk, its volumes' reference models, and what had been promised at each
// point of the record: what a disk that a power failure left has to show.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/store.h"
#include "tests/support/disk_log.h"
#include "tests/support/manual_clock.h"
#include "tests/support/random.h"
#include "tests/support/random_operations.h"
#include "tests/support/temp_dir.h"
#include "tests/support/twin.h"

namespace rw::testing {

struct PowerProfile {
  OperationProfile operations;
  uint64_t retention_seconds = 30 * 24 * 3600;  // what is older may be gone
  bool collect = false;                         // and is collected at times
  uint64_t max_segment_bytes = 64 << 10;
  size_t memtable_bytes = 64 << 10;
  size_t max_chain = 8;
};

// In memory, if this machine has such a directory.
std::filesystem::path FastDirectory();

class PowerWorld {
 public:
  // The disk is empty.
  PowerWorld(uint64_t seed, const PowerProfile& profile);
  // Goes on from what is on the disk of `base`, which was rebased and has not been opened since.
  explicit PowerWorld(const PowerWorld& base);
  ~PowerWorld();
  PowerWorld& operator=(const PowerWorld&) = delete;

  DiskLog& log() { return *log_; }
  ManualClock& clock() { return clock_; }

  // --- what happens; each returns what is wrong, or an empty string ---
  std::string Open();
  std::string AddVolume(const std::string& name);
  std::string Operate();  // one random operation on a random volume
  std::string Do(const std::string& name, const Operation& operation);
  std::string Sync(const std::string& name);
  std::string Event();    // anything but an operation
  std::string Restart();  // the store closes in order and is opened again
  // All that is under way ends. The record is complete then.
  void Close();
  // What was done so far becomes the base of a new record: nothing of it can be lost. The store
  // must be closed.
  void Rebase();

  Twin& twin(const std::string& name);

  // --- afterwards ---
  // Checks a disk that a failure after `events` events has left. Each image is looked at once.
  // Returns what is wrong, or an empty string.
  std::string Check(size_t events, const DiskImage& image, Random& random);
  // What the store does to a disk when it recovers it, as a record of its own.
  std::unique_ptr<DiskLog> RecordRecovery(size_t events, const DiskImage& image);
  size_t states() const { return found_.size(); }  // different ones that were looked at
  size_t views() const { return views_; }          // that were compared

 private:
  struct Expected {
    size_t twin = 0;
    bool snapshot = false;
    size_t bindings = 1;
  };
  // What the catalog says from the time on that a change of it was done.
  struct Version {
    size_t begun = 0, done = 0;  // in events
    std::map<std::string, Expected> volumes;
    std::map<std::string, std::map<std::string, Instant>> marks;
  };
  struct Synced {
    size_t done = 0;
    size_t twin = 0;
    Instant until;
  };
  // What a disk was found to hold.
  struct Found {
    std::string problem;
    std::string catalog;               // as DescribeCatalog says it
    std::map<size_t, Instant> newest;  // of each twin that is a head
    Instant now;                       // later than everything that anybody was told of
  };

  StoreOptions OptionsOf(const std::filesystem::path& directory, ManualClock& clock, DiskLog* log,
                         RecordingFiles* files) const;
  // Runs `change`, which does something to the catalog and notes it in the version.
  std::string Change(const std::function<void(Version&)>& change);
  void Tick();
  std::string AnyName(bool writable);
  Twin& TwinOf(const std::string& name);
  std::string FreeName();
  Instant AnyInstant(const Twin& twin);
  size_t AddTwin(Twin twin);
  std::string Clone();
  std::string Snapshot();
  std::string RollBack();
  std::string Remove();
  std::string Mark();
  std::string RemoveMark();

  uint64_t TimeAt(size_t events) const;
  std::string CheckPromises(size_t events, const Found& found) const;
  Found Look(size_t events, const DiskImage& image, Random& random);
  std::string DescribeCatalog(const Version& version) const;
  static std::string DescribeCatalog(Store& store);
  const Version* FindVersion(size_t events, const std::string& catalog) const;
  std::string CheckVolume(Store& store, const Version& version, const std::string& name,
                          uint64_t now, Random& random, Found* found);
  std::string CheckViewAt(Store& store, const Version& version, const std::string& name, Instant at,
                          uint64_t now);
  std::string CheckHistory(Store& store, const Version& version, const std::string& name,
                           Instant newest, uint64_t now, Random& random);
  std::string GoOn(const StoreOptions& options, std::unique_ptr<Store> store,
                   const Version& version, const Found& found, ManualClock& clock, Random& random);
  bool Promised(const Version& version, const std::string& name, Instant at, uint64_t now) const;

  const PowerProfile profile_;
  Random random_;
  RandomOperations operations_;
  const TempDir directory_;
  ManualClock clock_;
  std::unique_ptr<DiskLog> log_;
  std::unique_ptr<RecordingFiles> files_;
  std::unique_ptr<Store> store_;
  std::vector<std::unique_ptr<Twin>> twins_;
  std::vector<Version> versions_;
  std::vector<Synced> synced_;
  std::vector<std::pair<size_t, uint64_t>> times_;  // of the clock, from an event on
  std::vector<std::pair<size_t, Instant>> nows_;    // that Store::Now gave out
  size_t next_name_ = 0;

  std::unordered_map<uint64_t, Found> found_;  // by the hash of the image
  size_t views_ = 0;
};

}  // namespace rw::testing
