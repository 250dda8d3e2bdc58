// The HTTP server on the daemon's Unix socket.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace httplib {
struct Response;
}

namespace rw {

class Volumes;

// Thread safety: Ready may be called from any thread; the rest belongs to one.
class Server {
 public:
  // Listens on `socket` and answers on threads of its own from then on. Requests about volumes wait
  // for Ready: the engine gives a plugin a few seconds to listen, and takes "no such volume" during
  // a recovery for the truth. Throws Refused as ListenOn does.
  explicit Server(const std::filesystem::path& socket);
  // The same on a socket that somebody else listens on and removes: what waits in its queue is
  // answered, too. Takes the descriptor.
  explicit Server(int listening);

  // As Stop.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Requests are answered by `volumes` from now on; it must live until Stop returns.
  void Ready(Volumes& volumes);

  // Null before Ready, and after Stop.
  Volumes* volumes();

  // Accepts nothing more, removes the socket and waits until the requests under way are answered.
  // Must not be called while requests wait for Ready.
  void Stop();

  // Removes the socket that it has made, for an end without Stop.
  void RemoveSocket();

 private:
  class HttpServer;

  Server(int listening, std::filesystem::path socket);
  Volumes& WaitForVolumes();
  void StartExport(const std::string& body, httplib::Response& response);

  const std::filesystem::path socket_;  // empty: not its own
  std::mutex mutex_;
  std::condition_variable is_ready_;
  Volumes* volumes_ = nullptr;  // guarded by mutex_
  std::unique_ptr<HttpServer> http_;
  std::atomic<bool> ended_{false};  // the thread
  std::thread thread_;
};

}  // namespace rw
