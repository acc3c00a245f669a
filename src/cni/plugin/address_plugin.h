// The plugin that gives addresses where `ipam.type` names another: run as SPEC.md, section 4, says, by the environment
// and the configuration of the call.
#pragma once

#include <boost/json/object.hpp>

#include <chrono>
#include <string>

#include "cni/call.h"

namespace ocicat::cni {

// Shorter than what a kubelet has for all of a call (two minutes).
inline constexpr std::chrono::milliseconds kAddressPluginPatience{45'000};

class AddressPlugin {
 public:
  // `environment` of the call, whose command is the one to be run.
  AddressPlugin(std::string name, Environment environment,
                std::chrono::milliseconds patience = kAddressPluginPatience)
      : name_(std::move(name)), environment_(std::move(environment)), patience_(patience) {}

  const std::string& name() const { return name_; }
  // What it answers; of commands other than ADD nothing. Codes: 2, where it is not in CNI_PATH; its own, of those that
  // the specification names; 106.
  Outcome<boost::json::object> run(Command command, const boost::json::object& config) const;

 private:
  Outcome<std::string> find() const;

  const std::string name_;
  const Environment environment_;
  const std::chrono::milliseconds patience_;
};

}  // namespace ocicat::cni
