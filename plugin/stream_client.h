// Sends the daemon what does not fit into one request.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace rw {

// The daemon's answer came before everything was sent: there is no point in sending more.
struct AnsweredEarly {};

// A request whose body is sent piece by piece. Not thread-safe.
class StreamRequest {
 public:
  // Connects and sends the head. `header` is a header's whole line. Throws Refused as Ask does.
  StreamRequest(const std::filesystem::path& socket, const std::string& endpoint,
                const std::string& header);
  ~StreamRequest();
  StreamRequest(const StreamRequest&) = delete;
  StreamRequest& operator=(const StreamRequest&) = delete;

  // Throws AnsweredEarly.
  void Send(std::string_view piece);
  // Says that this was all. Without it the daemon sees a request that was broken off.
  void End();
  // Throws Refused with what the daemon refuses, EIO if it goes away.
  nlohmann::json Answer();

 private:
  void SendAll(std::string_view bytes);

  const std::filesystem::path socket_;
  int fd_;
};

}  // namespace rw
