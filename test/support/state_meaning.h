// What a HostState means, whatever ids it is written in.
#pragma once

#include <string>

#include "engine/host_state.h"

namespace ocicat::test {

// Empty, or what the states differ in. Alike: the same settings, routes and endpoints; for every endpoint's
// address and direction the same answers to all packets of all peers, traces included; as many entries of
// each kind, so that nothing was left behind; and the same addresses told apart.
std::string difference_in_meaning(const HostState& a, const HostState& b);

// Empty, or the first part in which they differ, ids included.
std::string difference(const HostState& a, const HostState& b);

}  // namespace ocicat::test
