#include "plugin/interruption.h"

#include <cerrno>

namespace rw {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
volatile sig_atomic_t happened = 0;

void Note(int) { happened = 1; }

}  // namespace

Interrupted::Interrupted() : Refused(EINTR, "interrupted") {}

Interruption::Interruption() {
  struct sigaction action = {};
  action.sa_handler = Note;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    sigaction(kSignals[i], nullptr, &former_[i]);
    // nohup's stays.
    if (former_[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
  }
}

Interruption::~Interruption() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &former_[i], nullptr);
}

bool Interruption::Happened() { return happened != 0; }

}  // namespace rw
