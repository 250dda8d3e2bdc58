#include "plugin/upgrade_command.h"

#include <cerrno>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/printing.h"

namespace rw {

using Json = nlohmann::json;

void UpgradeCommand(const std::filesystem::path& socket, bool json) {
  using Clock = std::chrono::steady_clock;
  const Json before = Ask(socket, "Rewind.Daemon", Json::object());
  if (!before.at("Replaced").get<bool>()) {
    throw Refused(EALREADY, "no upgrade: " + before.at("Program").get<std::string>() +
                                " is what runs; install the new program there first");
  }
  std::string why;
  const auto asked = Clock::now();
  try {
    Ask(socket, "Rewind.Upgrade", Json::object());
  } catch (const Refused& refused) {
    why = refused.what();  // also that the daemon has ended, which is what is wanted
  }
  // Waits for the next daemon.
  const Json after = Ask(socket, "Rewind.Daemon", Json::object());
  const auto passed =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - asked).count();
  if (after.at("Process") == before.at("Process")) throw Refused(ECANCELED, why);
  if (const auto failed = after.at("FailedUpgrade").get<std::string>(); !failed.empty())
    throw Refused(ECANCELED, "no upgrade: " + failed + "; the one before goes on");
  if (json) {
    PrintJson({{"from", before.at("Version")}, {"to", after.at("Version")}, {"ms", passed}});
    return;
  }
  std::cout << "rewind " << before.at("Version").get<std::string>() << " was replaced by "
            << after.at("Version").get<std::string>() << " in " << passed << " ms\n";
}

}  // namespace rw
