//! Optimiser steps over all parameters.
