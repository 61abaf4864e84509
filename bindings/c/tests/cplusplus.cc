// The header in C++17: structs, constants, handles and errors.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <xvirt.h>

static void must(bool holds, const char *what) {
    if (!holds) {
        std::fprintf(stderr, "%s\n", what);
        std::exit(1);
    }
}

int main() {
    XvirtVmConfig config = {};
    config.struct_size = sizeof config;
    config.name = "first";
    config.on_crash = XVIRT_CRASH_ACTION_RESTART;
    XvirtError *error = nullptr;
    char *json = nullptr;
    must(xvirt_vm_config_to_json(&config, &json, &error) == XVIRT_STATUS_OK, xvirt_error_text(error));
    must(std::strstr(json, "restart") != nullptr, "the configuration does not say what it was made with");
    xvirt_free(json);

    config.name = nullptr;
    must(xvirt_vm_config_check(&config, nullptr, &error) == XVIRT_STATUS_INVALID_CONFIG, "a VM needs a name");
    must(xvirt_error_status(error) == XVIRT_STATUS_INVALID_CONFIG, "the error has another kind");
    xvirt_error_free(error);
    return 0;
}
