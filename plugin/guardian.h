// A second process that puts things back if the first is killed before it could do so itself.
#pragma once

#include <sys/types.h>

#include <functional>
#include <nlohmann/json_fwd.hpp>

namespace rw {

// Whoever ends the command with SIGKILL, or the kernel when memory runs out, would leave containers
// paused or stopped. The guardian is in a session of its own, so that what is done to the terminal
// or its process group does not concern it.
class Guardian {
 public:
  // Starts it. Nothing may run in other threads of this process. `take_over` is called in the
  // guardian, with what was noted last, if this process ends before End.
  explicit Guardian(const std::function<void(const nlohmann::json& noted)>& take_over);
  // As End.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  // What would have to be put back from now on; said before it is done.
  void Note(const nlohmann::json& state);
  // Nothing is to be put back any more.
  void End();

 private:
  int fd_ = -1;
  pid_t process_ = -1;
};

}  // namespace rw
