// Calls of the model, made to a real daemon.
#pragma once

#include <string>

#include "tests/support/daemon_process.h"
#include "tests/support/protocol_model.h"

namespace rw::testing {

// What is sent for the call: endpoint and body.
std::string EndpointOf(const ProtocolCall& call);
nlohmann::json BodyOf(const std::string& volume, const ProtocolCall& call);

// Waits for as long as it takes. Thread safety: may be called from any thread.
ProtocolAnswer Call(const DaemonProcess& daemon, const std::string& volume,
                    const ProtocolCall& call);

}  // namespace rw::testing
