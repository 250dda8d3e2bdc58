// A process that works on a directory and takes no error for an answer: it knows what each call has
// to return and what its directory has to hold afterwards.
//
// What it does is chosen so that nothing can be done twice or left out without its being seen:
// creating with O_EXCL, exchanging two names, adding and taking away the same xattr, appending
// numbers.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace rw::testing {

class PersistentWork {
 public:
  // Starts it as a child of this process; it goes on until Finish. Works in `directory`/NUMBER and
  // appends to `directory`/log, which it shares with others.
  PersistentWork(const std::filesystem::path& directory, uint32_t number);
  ~PersistentWork();
  PersistentWork(const PersistentWork&) = delete;
  PersistentWork& operator=(const PersistentWork&) = delete;

  struct Result {
    std::string problem;  // empty if all went well
    uint64_t rounds = 0;  // also the numbers appended to the log: 0 to rounds - 1
    uint64_t calls = 0;
    double longest_seconds = 0;  // of one call
  };
  // Lets it end its round and returns what it found; "hangs" if it does not end. The same if called
  // again.
  Result Finish();
  uint64_t rounds() const;  // so far
  bool failed() const;
  std::string problem() const;  // so far

  // The line of the shared log for one number.
  static std::string LogLine(uint32_t worker, uint64_t number);

  struct Shared;

 private:
  void Wait();

  Shared* shared_;
  pid_t process_ = -1;
  bool ended_ = false, hangs_ = false;
  int status_ = 0;
};

}  // namespace rw::testing
