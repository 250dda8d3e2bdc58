// What Docker and the command line can ask of the daemon: one function per endpoint, JSON in, JSON
// out. Docker's nine are those of its volume plugin protocol; `Rewind.…` are the command line's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rw {

class Volumes;

// Answers a request to `endpoint` (such as "VolumeDriver.Get") or returns nullopt if there is none
// of that name. Whatever is refused or goes wrong becomes the answer's "Err" and one line in the
// log; nothing is thrown. `volumes` is called by the endpoints that need it, and may block until
// there is an answer to give.
std::optional<std::string> Answer(const std::string& endpoint, const std::string& body,
                                  const std::function<Volumes&()>& volumes);

// An answer that only refuses.
std::string ErrorAnswer(std::string_view message);

// Names of all endpoints.
std::vector<std::string> EndpointNames();

}  // namespace rw
