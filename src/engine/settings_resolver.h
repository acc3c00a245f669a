// Settings of the whole host, from FelixConfiguration.
//
// For each field the first source that sets it counts: the configuration named `node.<host>`, the one that
// selects the host's node by its labels (of several the first by name), the one named `default`, the built-in
// value. Empty text is not set; text that cannot be read is the built-in value, which then counts.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/host_state.h"
#include "resources/types.h"

namespace ocicat {

using FelixConfigurations = std::map<std::string, FelixConfiguration>;  // by name

// `node` is the host's name; without one only `default` counts. `labels` are those of its Node.
HostSettings resolve_settings(const FelixConfigurations& configurations, const std::optional<std::string>& node,
                              const Labels& labels);

}  // namespace ocicat
