// SIGINT, SIGTERM and SIGHUP ask a command that is in the middle of something to put it back,
// instead of ending it where it is.
#pragma once

#include <csignal>

#include "metadata/refused.h"

namespace rw {

// Thrown where a command notices that it was asked to end.
class Interrupted : public Refused {
 public:
  Interrupted();
};

// While there is one, these signals are only noted. Not more than one at a time.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  static bool Happened();
  static void Check() {
    if (Happened()) throw Interrupted();
  }

 private:
  struct sigaction former_[3];
};

}  // namespace rw
