// The figures and the health on a TCP port of this machine, for monitoring that cannot ask a Unix
// socket. Nothing else is answered there: whoever is on the machine can ask.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace rw {

class Volumes;

struct LoopbackAddress {
  std::string host;  // "" : none
  int port = 0;
};
// `127.0.0.1:9876`, `[::1]:9876`, or `none`. Throws Refused(EINVAL) for what is no address and for
// addresses of other machines' reach: what volumes are called and how much they hold is nobody
// else's business, and there is no password.
LoopbackAddress ParseLoopbackAddress(const std::string& text);
// Throws Refused if nobody could listen there now.
void TryToListen(const LoopbackAddress& address);

class LoopbackServer {
 public:
  // `volumes`: null while there are none. If the port is taken, it says so in the log and tries
  // again until it is not.
  LoopbackServer(LoopbackAddress address, std::function<Volumes*()> volumes);
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

 private:
  class State;

  std::unique_ptr<State> state_;
};

}  // namespace rw
