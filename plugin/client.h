// The command line's side of the daemon's socket.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace rw {

// Where the daemon listens: `given` if it is not empty, else the socket of a managed plugin of this
// machine, else that of an unmanaged one.
std::filesystem::path FindSocket(const std::string& given);

// As long as the engine waits for the slowest request, and a recovery before it.
inline constexpr int kAnswerTimeoutSeconds = 600;

// Asks the daemon at `socket` and returns its answer.
// Throws Refused: with the daemon's own line if it refuses, ECONNREFUSED if there is none, EIO if
// it goes away or takes longer than the timeout.
nlohmann::json Ask(const std::filesystem::path& socket, const std::string& endpoint,
                   const nlohmann::json& request, int timeout_seconds = kAnswerTimeoutSeconds);

// Asks for an answer that comes piece by piece: `take` gets each. What it throws ends the answer
// and comes out of this. Throws Refused as Ask does; EIO if the answer breaks off.
void AskForStream(const std::filesystem::path& socket, const std::string& endpoint,
                  const nlohmann::json& request, const std::function<void(std::string_view)>& take);

// What the daemon says in an answer that is no stream; throws Refused.
nlohmann::json ParseAnswer(const std::filesystem::path& socket, const std::string& body);
[[noreturn]] void RefuseWithoutDaemon(const std::filesystem::path& socket, int error);

}  // namespace rw
