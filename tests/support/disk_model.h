// The disks that a power failure may leave, at any point of a DiskLog.
//
// What is assumed of a disk and its file system (also in fs/README.md, "Power failure"):
// - what a sync that came back covers is there;
// - of what no sync covers, each 4 KiB page (or each sector of 512 bytes, if writes tear) of a file
//   is as it was at some moment since; the file's size as well, independently of its pages, and
//   bytes that got a size but no contents are zeros;
// - each change of a name that its directory's sync does not cover was done or not, a rename wholly
//   or not at all; what a file holds and what it is called are independent;
// - nothing else changes: bytes that nobody wrote stay as they were.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/disk_log.h"
#include "tests/support/random.h"

namespace rw::testing {

enum class CrashKind {
  kNothing,      // of what was not synced is there
  kEverything,   // is there
  kPrefix,       // everything up to a moment, and what was synced later
  kNames,        // names and sizes, but no contents
  kContents,     // contents, but no names
  kTornSectors,  // everything, but of the last write only some sectors
  kTornPages,    // … only some pages
  kSomePages,    // each page at a moment of its own, each name done or not
  kSomeSectors,  // each sector
  kMostlyThere,  // as kSomePages, but little is missing
  kHardlyThere,  // as kSomePages, but hardly anything is there
};
inline constexpr int kCrashKinds = 11;

std::string NameOf(CrashKind kind);

class DiskModel {
 public:
  // `log` must not grow any more.
  explicit DiskModel(const DiskLog& log);

  // To just after the first `events` events. Only forward.
  void AdvanceTo(size_t events);
  // A disk after a power failure at that point.
  DiskImage Fail(CrashKind kind, Random& random) const;

 private:
  struct File {
    std::shared_ptr<std::string> durable = std::make_shared<std::string>();
    std::vector<size_t> pending;  // events
  };
  using Names = std::map<std::string, uint32_t>;  // directories: 0
  class Choice;

  const DiskEvent& Event(size_t i) const { return log_.events()[i]; }
  void Apply(const DiskEvent& event, std::string* contents) const;
  static void ApplyName(const DiskEvent& event, Names* names);
  void SyncFile(File& file, size_t begun);
  void SyncNames(const std::string& directory, size_t begun);
  DiskContents Contents(uint32_t file, Choice& choice) const;

  const DiskLog& log_;
  size_t at_ = 0;
  std::map<uint32_t, File> files_;
  Names names_;  // that are durable
  std::vector<size_t> pending_names_;
};

}  // namespace rw::testing
