// The small files of a data root: what says that it is rewind's, who has it open, and where the
// clock stood.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>

#include "fs/file.h"
#include "metadata/instant.h"

namespace rw {

inline constexpr uint32_t kStoreFormat = 1;

// `store.json`: written once, when the store is made.
struct Superblock {
  uint32_t format = kStoreFormat;
  uint64_t name_seed = 0;
};

// The data root and the directories that it lies in, where they are absent; durable when it
// returns.
void MakeDataRoot(FileLayer* files, const std::filesystem::path& root);

// Throws Refused(ENOTEMPTY) if the directory holds what is not rewind's. Writes nothing.
void CheckIsOurs(const std::filesystem::path& root);

// Under the root's lock. Reads the superblock, or makes a new store in an empty directory. Throws
// Refused: ENOTEMPTY, EPROTONOSUPPORT, EIO.
Superblock OpenSuperblock(FileLayer* files, const std::filesystem::path& root);

// Held as long as the object lives. Throws Refused(EBUSY) if another process holds it.
class RootLock {
 public:
  explicit RootLock(const std::filesystem::path& root);
  ~RootLock();
  RootLock(const RootLock&) = delete;
  RootLock& operator=(const RootLock&) = delete;

 private:
  int fd_;
};

// `ballast`: space that is given back when the disk is full, so that there is some for the index to
// be flushed, which has to be before anything is freed. Thread safety: all methods may be called
// from any thread.
class Ballast {
 public:
  explicit Ballast(const std::filesystem::path& root) : path_(root / "ballast") {}

  void Make();  // if it is not there and the disk has room
  bool Drop();  // false if there was none

 private:
  std::filesystem::path path_;
};

// `clock`: an instant that no later run may give out again, and whether the store was closed in
// order.
class ClockFile {
 public:
  struct State {
    Instant floor;
    bool clean = false;  // everything is in the index, and no journal has a torn tail
    // The index has come at least so far (Index::LastSequence); 0: not known.
    uint64_t index_sequence = 0;
  };
  ClockFile(FileLayer* files, std::filesystem::path path) : files_(files), path_(std::move(path)) {}

  std::optional<State> Read() const;  // nothing if absent or torn
  void Write(State state);            // durable when it returns

 private:
  FileLayer* files_;
  std::filesystem::path path_;
};

}  // namespace rw
