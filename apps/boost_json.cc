// Boost.JSON for the program that links no shared library.
#include <boost/json/src.hpp>
